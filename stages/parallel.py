"""Work done ahead by a thread pool, handed out in order, with a bounded number of items in flight.

PIL and numpy release the interpreter lock in their loops, so threads decode in parallel and share
their pictures without copying.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

# A thread that wants the interpreter lock back asks for it this often. At Python's 5 ms, the thread
# that launches a model's kernels waits for the decoding ones at every kernel.
_SWITCH_S = 0.0002

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
    pool = ThreadPoolExecutor(workers, "prefetch", initializer=_step_back)
    try:
        for item in source:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        sys.setswitchinterval(usual)


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
