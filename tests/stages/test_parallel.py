"""Threads that decode ahead give way to those that compute, and to what the user asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from running import ROOT

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
