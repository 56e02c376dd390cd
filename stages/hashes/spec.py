"""What a hash is: a batch of pictures in, one binary key of fixed length for each out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from cache import InputError

_DISTRIBUTIONS = {"PIL": "pillow"}


@dataclass(frozen=True)
class Hash:
    """A perceptual hash.

    `bits` is the number of bits a Hamming distance counts, None where keys are equal or not;
    `length` the key's bytes; `function` maps uint8 [N, H, W] or [N, H, W, 3] to uint8 [N, length];
    `parameters` are what else decides the key, stored as provenance; `needs` the packages behind
    it; `made_by` the installed package that adds it, its version and a digest of its code.
    """

    name: str
    bits: int | None
    length: int
    function: Callable[[np.ndarray], np.ndarray]
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    needs: tuple[str, ...] = ()
    made_by: Mapping[str, str | None] | None = field(default=None, hash=False)

    @property
    def missing(self) -> list[str]:
        """Packages it needs that are not installed."""
        return [package for package in self.needs if find_spec(package) is None]

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages it needs or comes with, which decide the key."""
        if self.made_by is not None:
            return {str(self.made_by["package"]): str(self.made_by["version"])}
        return {package: version(_DISTRIBUTIONS.get(package, package)) for package in self.needs}

    def require(self) -> None:
        """InputError where a package it needs is not installed."""
        if self.missing:
            raise InputError(
                f"the hash {self.name} needs {', '.join(self.missing)}, not installed here: "
                "pip install 'cascade-cli[extract]'"
            )

    def digest(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W] grey or [N, H, W, 3] in RGB → keys, uint8 [N, length]."""
        shape = pictures.shape
        if pictures.dtype != np.uint8 or len(shape) not in (3, 4) or shape[3:] not in ((), (3,)):
            raise ValueError(f"pictures are {pictures.dtype} {shape}, not uint8 [N, H, W(, 3)]")
        if 0 in shape[1:]:
            raise ValueError(f"pictures of {shape[1]}×{shape[2]} have no pixels")
        if not len(pictures):
            return np.empty((0, self.length), np.uint8)
        return self.function(pictures)

    def digest_each(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures [H, W] or [H, W, 3] of any sizes → keys, uint8 [N, length]."""
        keys = np.empty((len(pictures), self.length), np.uint8)
        places: dict[tuple[int, ...], list[int]] = {}
        for i, picture in enumerate(pictures):
            places.setdefault(picture.shape, []).append(i)
        for same in places.values():
            keys[same] = self.digest(np.stack([pictures[i] for i in same]))
        return keys
