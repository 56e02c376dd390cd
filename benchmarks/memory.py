"""Simulating a memory over a million requests, beside a plain dictionary loop.

    python -m benchmarks.memory

Half of the requests repeat an earlier image. Without eviction the simulation is vectorised; with
LRU eviction it replays the table request by request, as a live run would.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from stages.cascade import MemoryPolicy, remember
from stages.simulate import make

REQUESTS = 1_000_000


def main() -> None:
    times = {n: unlimited(n) for n in (REQUESTS // 10, REQUESTS)}
    print(f"{REQUESTS} requests, every image twice, 64-bit keys")
    print(f"  without eviction     {times[REQUESTS]:.2f} s, {growth(times):.1f}× a tenth of them")
    lru = {n: evicting(n) for n in (REQUESTS // 10, REQUESTS)}
    print(f"  LRU of 10,000 keys   {lru[REQUESTS]:.2f} s, {growth(lru):.1f}× a tenth of them")
    print(
        f"  a dictionary loop    {loop(REQUESTS) / times[REQUESTS]:.1f}× the time without eviction"
    )


def growth(times: dict[int, float]) -> float:
    return times[REQUESTS] / times[REQUESTS // 10]


def requests(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """codes [n], keys [n / 2, 8], storable [n]."""
    stream = make(n // 2, 1, order="shuffled")
    keys = np.arange(n // 2, dtype=np.uint64).view(np.uint8).reshape(-1, 8)
    return stream.sample_ids, keys, np.ones(n, bool)


def seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def unlimited(n: int) -> float:
    codes, keys, storable = requests(n)
    return min(
        seconds(lambda: remember(codes, keys, storable, MemoryPolicy("dhash"))) for _ in range(3)
    )


def evicting(n: int) -> float:
    codes, keys, storable = requests(n)
    return seconds(lambda: remember(codes, keys, storable, MemoryPolicy("dhash", size=10_000)))


def loop(n: int) -> float:
    codes, keys, _ = requests(n)

    def run() -> None:
        held: dict[bytes, int] = {}
        for r, code in enumerate(codes):
            held.setdefault(keys[code].tobytes(), r)

    return seconds(run)


if __name__ == "__main__":
    main()
