"""Work done ahead by a thread pool, handed out in order, with a bounded number of items in flight.

PIL and numpy release the interpreter lock in their loops, so threads decode in parallel and share
their pictures without copying. Of small pictures the loops are short and the threads fight for the
lock: then one of them works.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median
from typing import TypeVar

# A thread that wants the interpreter lock back asks for it this often. At Python's 5 ms, the thread
# that launches a model's kernels waits for the decoding ones at every kernel.
_SWITCH_S = 0.0002

# Calls of each thread, together and then of one alone, that tell whether they fight, and how much
# quicker they must be together: two threads that decode CIFAR-10 are slower than one.
_CALLS, _QUICKER = 2, 1.1

T = TypeVar("T")
R = TypeVar("R")


def prefetch(
    function: Callable[[T], R], items: Iterable[T], workers: int, ahead: int | None = None
) -> Iterator[R]:
    """map(function, items) with up to `ahead` results (default: 2 per worker) made in advance.

    The first exception is raised at its item's turn; closing the iterator cancels what is left.
    """
    ahead = ahead or 2 * workers
    source = iter(items)
    pending: deque[Future[R]] = deque()
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(usual, _SWITCH_S))
    gate = _Gate(workers)
    pool = ThreadPoolExecutor(workers, "prefetch", initializer=_step_back)
    try:
        for item in source:
            pending.append(pool.submit(gate.through, function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        sys.setswitchinterval(usual)


class _Gate:
    """Lets `workers` calls through at a time, then one, then as many as do not fight.

    They do where together they were hardly quicker than one is by its processor time, which does
    not count that it waits for those that compute.
    """

    def __init__(self, workers: int) -> None:
        self._workers, self._open, self._inside, self._done = workers, workers, 0, 0
        self._begun = self._together_s = 0.0
        self._alone: list[float] = []
        self._changed = threading.Condition()

    def through(self, function: Callable[[T], R], item: T) -> R:
        with self._changed:
            self._changed.wait_for(lambda: self._inside < self._open)
            self._inside += 1
            open_to = self._open
        begun = time.thread_time()
        try:
            return function(item)
        finally:
            with self._changed:
                self._learn(open_to, time.thread_time() - begun)
                self._inside -= 1
                self._changed.notify_all()

    def _learn(self, open_to: int, seconds: float) -> None:
        """What a call took that began when so many were let through."""
        if len(self._alone) == _CALLS or self._workers == 1:
            return
        if open_to == 1:
            self._alone.append(seconds)
        else:
            self._done += 1
        if self._done == self._workers:  # the first of each thread warm up
            self._begun = self._begun or time.perf_counter()
        if self._done == (1 + _CALLS) * self._workers and self._open > 1:
            self._together_s = time.perf_counter() - self._begun
            self._open = 1
        if len(self._alone) == _CALLS:
            one_s = median(self._alone) * _CALLS * self._workers
            self._open = 1 if self._together_s * _QUICKER > one_s else self._workers


def _step_back() -> None:
    """Give way to the threads that compute: one of them kept waiting holds up all the others.

    Linux schedules threads by their own priority; elsewhere it is the process's and stays.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = max(10, os.getpriority(os.PRIO_PROCESS, thread))  # less may not be permitted
        os.setpriority(os.PRIO_PROCESS, thread, niceness)


def default_workers() -> int:
    """One decoding thread per core this process may use, 16 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, 16)
