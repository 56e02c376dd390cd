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
