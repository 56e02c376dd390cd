"""Decoded batches of a source, as the models see them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from cache import InputError
from stages.datasets import Source


class Seen(Hashable, Protocol):
    """How a model sees a picture: a Preprocessing, or a View."""

    def pixels(self, picture: np.ndarray) -> np.ndarray: ...


V = TypeVar("V", bound=Seen)


@dataclass(frozen=True)
class Pictures(Generic[V]):
    """A source's decoded batches as several views of them, each picture decoded once.

    `shapes` are those of sample 0, which all pictures must have: a batch is one array.
    """

    source: Source
    first: np.ndarray
    shapes: dict[V, tuple[int, ...]]

    @classmethod
    def of(cls, source: Source, views: Iterable[V], first: np.ndarray | None = None) -> Pictures[V]:
        """`first` is sample 0 where it is decoded already."""
        first = source.read(0) if first is None else first
        return cls(source, first, {each: each.pixels(first).shape for each in views})

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """Samples start … stop − 1, decoded."""
        return [self.source.read(i) if i else self.first for i in range(start, stop)]

    def views(self, pictures: list[np.ndarray], start: int) -> dict[V, np.ndarray]:
        """Decoded samples from `start` on as uint8 [B, C, h, w]; InputError for another size."""
        return {each: self._stacked(pictures, start, each) for each in self.shapes}

    def batch(self, start: int, stop: int) -> dict[V, np.ndarray]:
        """`views` of samples start … stop − 1."""
        return self.views(self.read(start, stop), start)

    def _stacked(self, pictures: list[np.ndarray], start: int, by: V) -> np.ndarray:
        pixels = [by.pixels(picture) for picture in pictures]
        for i, found in enumerate(pixels, start):
            if found.shape != self.shapes[by]:
                raise InputError(
                    f"{self.source.dataset}/{self.source.split} sample {i} "
                    f"({self.source.keys[i]}) is {_size(found.shape)} but sample 0 is "
                    f"{_size(self.shapes[by])}: resize the images to one size"
                )
        return np.stack(pixels)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[2]}"


def seeded_pictures(shape: tuple[int, ...], seed: int = 7) -> np.ndarray:
    """uint8 [B, C, H, W] with detail of all sizes, as photographs have: some nets make chaos of
    white noise."""
    rng = np.random.default_rng(seed)
    total, step = np.zeros(shape), max(shape[2:])
    while step:
        blocks = rng.standard_normal((*shape[:2], *(-(-side // step) for side in shape[2:])))
        total += blocks.repeat(step, 2).repeat(step, 3)[..., : shape[2], : shape[3]]
        step //= 2
    return np.clip(128 + 24 * total, 0, 255).astype(np.uint8)
