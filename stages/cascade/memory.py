"""The memory: answers kept under perceptual hashes, simulated exactly as a live table behaves.

A request is looked up before any CNN runs. A hit returns the stored answer; a miss runs the cascade
and stores its answer, unless the score of the model that gave it does not reach `trust`. Requests
of one batch are looked up together, so an answer can only be found by later batches. A key is
stored once: the first request to store it is whose answer a hit returns.
"""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from cache import InputError


@dataclass(frozen=True)
class MemoryPolicy:
    """How a table behaves. `size` is the most keys it holds, the least recently used going first;
    `radius` the largest Hamming distance of a hit: the nearest key, then the oldest; `trust` the
    least sure score that is stored, on the score function's own scale."""

    algorithm: str
    size: int | None = None
    radius: int = 0
    trust: float | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise InputError(f"--memory-size {self.size}: give at least 1, or leave it out")
        if self.radius < 0:
            raise InputError(f"--memory-radius {self.radius}: give a distance of 0 or more")


@dataclass(frozen=True)
class Remembered:
    """`source` int64 [R]: the request whose stored answer was returned, −1 on a miss; `entries`:
    keys held at the end."""

    source: np.ndarray
    entries: int

    @property
    def hit(self) -> np.ndarray:
        """bool [R]."""
        return self.source >= 0


def remember(
    codes: np.ndarray,
    keys: np.ndarray,
    storable: np.ndarray,
    policy: MemoryPolicy,
    batch_size: int = 1,
) -> Remembered:
    """Which requests are answered from the table.

    keys: uint8 [U, L], distinct; codes: int64 [R], each request's row in it; storable: bool [R],
    whether the cascade's answer to a request is one that would be stored. Linear in R; with a
    radius each new key is also compared with all.
    """
    if policy.size is None and not policy.radius:
        return _unlimited(codes, storable, batch_size)
    table: MemoryTable[int] = MemoryTable(policy)
    source = np.empty(len(codes), np.int64)
    for start in range(0, len(codes), batch_size):
        batch = range(start, min(start + batch_size, len(codes)))
        for r in batch:
            found = table.look_up(keys[codes[r]])
            source[r] = -1 if found is None else found
        for r in batch:
            if source[r] < 0 and storable[r]:
                table.store(keys[codes[r]], r)
    return Remembered(source, len(table))


A = TypeVar("A")


class MemoryTable(Generic[A]):
    """The live table: keys (uint8 [L]) to the answers stored under them."""

    def __init__(self, policy: MemoryPolicy) -> None:
        self.policy = policy
        self._held: OrderedDict[bytes, A] = OrderedDict()
        self._words = _Words() if policy.radius else None

    def __len__(self) -> int:
        return len(self._held)

    def copy(self) -> MemoryTable[A]:
        """A table with the same content and history."""
        return deepcopy(self)

    def look_up(self, key: np.ndarray) -> A | None:
        """What is stored under the key, or within the radius of it; it counts as used."""
        name = key.tobytes()
        if name not in self._held:
            if self._words is None:
                return None
            near = self._words.nearest(key, self.policy.radius)
            if near is None:
                return None
            name = near
        if self.policy.size is not None:
            self._held.move_to_end(name)
        return self._held[name]

    def store(self, key: np.ndarray, answer: A) -> None:
        """Keep the answer, unless the key has one; drop the least recently used if full."""
        name = key.tobytes()
        if name in self._held:
            return
        self._held[name] = answer
        if self._words is not None:
            self._words.add(key, name)
        if self.policy.size is not None and len(self._held) > self.policy.size:
            oldest, _ = self._held.popitem(last=False)
            if self._words is not None:
                self._words.drop(oldest)


class _Words:
    """Stored bit strings in one growing array, so that a look-up is one vectorised comparison."""

    def __init__(self) -> None:
        self._bits = np.empty((0, 0), np.uint8)
        self._names: list[bytes | None] = []
        self._at: dict[bytes, int] = {}

    def add(self, key: np.ndarray, name: bytes) -> None:
        if len(self._names) >= len(self._bits):
            self._compact(len(key))
        self._bits[len(self._names)] = key
        self._at[name] = len(self._names)
        self._names.append(name)

    def drop(self, name: bytes) -> None:
        self._names[self._at.pop(name)] = None

    def nearest(self, key: np.ndarray, radius: int) -> bytes | None:
        """The nearest stored key within the radius, the oldest of equally near ones."""
        count = len(self._names)
        if not count:
            return None
        distance = _POPCOUNT[self._bits[:count] ^ key].sum(axis=1, dtype=np.int32)
        for at in np.flatnonzero(distance <= radius)[
            np.argsort(distance[distance <= radius], kind="stable")
        ]:
            name = self._names[at]
            if name is not None:
                return name
        return None

    def _compact(self, width: int) -> None:
        """Leave out what was dropped and make room; the order stays that of storing."""
        kept = [i for i, name in enumerate(self._names) if name is not None]
        names = [self._names[i] for i in kept]
        bits = np.empty((max(64, 2 * len(kept)), width), np.uint8)
        if kept:
            bits[: len(kept)] = self._bits[kept]
        self._bits, self._names = bits, names
        self._at = {name: i for i, name in enumerate(names) if name is not None}


_POPCOUNT = np.array([bin(value).count("1") for value in range(256)], np.uint8)


def _unlimited(codes: np.ndarray, storable: np.ndarray, batch_size: int) -> Remembered:
    """Without eviction or radius: the first request to store a key answers all later batches."""
    requests = np.arange(len(codes))
    none = len(codes)
    first = np.full(int(codes.max(initial=-1)) + 1, none)
    stored = requests[storable][::-1]
    first[codes[stored]] = stored  # of equal codes the last assignment, the earliest request, stays
    by = first[codes]
    hit = (by < none) & (by // batch_size < requests // batch_size)
    return Remembered(np.where(hit, by, -1), int((first < none).sum()))


def distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, L] → the distinct keys uint8 [U, L] and each row's place among them, int64 [N]."""
    whole = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1]))).reshape(-1)
    unique, codes = np.unique(whole, return_inverse=True)
    return unique.view(np.uint8).reshape(-1, keys.shape[1]), codes.reshape(-1).astype(np.int64)


def size_bytes(entries: int, key_bytes: int) -> int:
    """Of the table's content: each key and an int32 answer."""
    return entries * (key_bytes + 4)
