"""Threads that decode ahead give way to those that compute, and to what the user asked for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from running import ROOT

from stages import parallel
from stages.parallel import prefetch

CODE = """
import os, sys, threading
from stages.parallel import prefetch
os.nice(int(sys.argv[1]))
def niceness(_):
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
print(*prefetch(niceness, range(3), 2), niceness(None))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is the process's elsewhere")
@pytest.mark.parametrize(("own", "theirs"), [(0, 10), (15, 15)])
def test_threads_step_back_but_never_forward(own, theirs):
    """A niceness below the process's own may be set by root alone."""
    command = [sys.executable, "-c", CODE, str(own)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *threads, here = map(int, done.stdout.split())
    assert threads == [max(theirs, here)] * 3
    assert here >= own


@pytest.mark.parametrize(("quicker", "threads"), [(True, 3), (False, 1)])
def test_threads_that_fight_give_way_to_one(quicker, threads, monkeypatch):
    """A call takes as long as its processor time, or longer, as one waits for the lock."""
    inside, most, took, lock = 0, 0, threading.local(), threading.Lock()
    monkeypatch.setattr(parallel.time, "thread_time", lambda: getattr(took, "seconds", 0.0))

    def call(i):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside) if i >= 60 else most
        time.sleep(0.01)
        with lock:
            took.seconds = getattr(took, "seconds", 0.0) + (0.01 if quicker else 0.002)
            inside -= 1
        return i

    assert list(prefetch(call, range(100), 3)) == list(range(100))
    assert most == threads
