"""How many batches are computed side by side, which measuring finds.

The device's threads can share one pass, or take a pass each, or something between. Threads that
share a pass wait for each other at every layer: that costs small models much of their time, and all
models nearly all of it where other work keeps a core busy. Passes of their own need more memory.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

# Chunks of batches that tell of a count; the first, which also warms up, does not.
_TRIALS = 3
# Each count tried is so many times the one before.
_STEP = 4
_SPARED = 0.2  # of the free memory, which no count may take

T = TypeVar("T")
R = TypeVar("R")


class Streams:
    """`count` passes at a time, each on `share` of the threads; `free` tells free bytes."""

    def __init__(self, threads: int, free: Callable[[], int | None]) -> None:
        self.threads, self.count = threads, 1
        self._free = free
        self._at_first = free()
        self._rates: dict[int, float] = {}
        self._trials = 0
        self._most = 0
        self._of: tuple[str, ...] = ()
        self._found = threads == 1
        self._pool: ThreadPoolExecutor | None = None

    @property
    def share(self) -> int:
        return max(1, self.threads // self.count)

    def map(self, call: Callable[[T], R], items: list[T]) -> list[R]:
        """The results in order; after an exception no further call begins, and it is raised when
        those at work have ended."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, "stream")
        futures: list[Future[R]] = [self._pool.submit(call, item) for item in items]
        _, left = wait(futures, return_when=FIRST_EXCEPTION)
        for future in left:
            future.cancel()
        wait(futures)
        return [future.result() for future in futures if not future.cancelled()]

    def learn(self, batches: int, of: tuple[str, ...], seconds: float) -> None:
        """A chunk of so many batches of these models took so long; others than the largest, and of
        the models first seen with it, tell nothing."""
        if self._found:
            return
        if batches > self._most:
            self._most, self._of, self._trials = batches, of, 0
            self._rates.clear()
            self._change(1)
        if (batches, of) != (self._most, self._of):
            return
        self._trials += 1
        if self._trials > 1:
            self._rates[self.count] = max(self._rates.get(self.count, 0.0), 1 / seconds)
        if self._trials == _TRIALS:
            self._trials = 0
            self._next()

    def settle(self, count: int | None = None) -> None:
        """Stay with the count, by default the quickest of those tried."""
        self._found = True
        self._change(count or max(self._rates, key=self._rates.__getitem__))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None

    def _next(self) -> None:
        wider = min(self.threads, self.count * _STEP)
        if wider == self.count or not self._room(wider):
            self.settle()
        else:
            self._change(wider)

    def _room(self, count: int) -> bool:
        """Whether what this count has taken, and freed memory is kept, allows the wider one."""
        free = self._free()
        if free is None or self._at_first is None:
            return True
        more = max(0, self._at_first - free) * (count / self.count - 1)
        return more < (1 - _SPARED) * free

    def _change(self, count: int) -> None:
        self.close()
        self.count = count
