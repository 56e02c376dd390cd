"""Time and the sampling thread; tests replace all three with virtual ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

Samples = list[tuple[int, Any]]


class Poller(Protocol):
    """Reads a value over and over; `start` reads at once, `stop` reads once more."""

    def start(self) -> None:
        """Read now and then every period. Raises what the first read raises."""

    def stop(self) -> Samples:
        """(ns, value) of every read, the last one now. Raises what a read on the way raised."""


class ThreadPoller:
    """A Poller with a daemon thread. A time stamp is the middle of its read."""

    def __init__(self, read: Callable[[], Any], period_s: float, clock: Callable[[], int]) -> None:
        self._read = read
        self._period = period_s
        self._clock = clock
        self._samples: Samples = []
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="energy sampling", daemon=True)

    def start(self) -> None:
        """Read now and then every period."""
        self._sample()
        self._thread.start()

    def stop(self) -> Samples:
        """Every sample; the last one is read now."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._error is not None:
            raise self._error
        self._sample()
        return self._samples

    def _run(self) -> None:
        while not self._stopped.wait(self._period):
            try:
                self._sample()
            except Exception as error:  # raised again by `stop`
                self._error = error
                return

    def _sample(self) -> None:
        before = self._clock()
        value = self._read()
        self._samples.append(((before + self._clock()) // 2, value))


@dataclass(frozen=True)
class Timing:
    """`clock` gives ns and never goes back, `sleep` takes s, `poller` samples beside the work."""

    clock: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep
    poller: Callable[[Callable[[], Any], float, Callable[[], int]], Poller] = ThreadPoller


REAL = Timing()


@dataclass(frozen=True)
class Ticks:
    """How a sensor's value was seen to advance: `tick_s` is the median step, None below three."""

    tick_s: float | None
    steps: int
    went_back: bool = False


def measure_tick(
    read: Callable[[], float],
    timing: Timing = REAL,
    steps: int = 11,
    limit_s: float = 3.0,
    every_s: float = 0.001,
) -> Ticks:
    """Time between changes of a sensor's value, watched for `steps` changes or `limit_s`."""
    start = timing.clock()
    edges: list[int] = []
    value, went_back = read(), False
    while len(edges) < steps and timing.clock() - start < limit_s * 1e9:
        timing.sleep(every_s)
        now = read()
        if now != value:
            edges.append(timing.clock())
            went_back |= now < value
            value = now
    gaps = sorted(after - before for before, after in pairwise(edges))
    tick = gaps[len(gaps) // 2] / 1e9 if len(gaps) > 1 else None
    return Ticks(tick, len(edges), went_back)
