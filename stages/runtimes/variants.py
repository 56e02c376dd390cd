"""Transforms of a decoded picture, before any preprocessing: what a repeated request may look like.

>>> VARIANTS["rot90"](np.array([[1, 2], [3, 4]]))
array([[2, 4],
       [1, 3]])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cache import one_of
from stages.runtimes.preprocess import Preprocessing

# uint8 [H, W] or [H, W, 3] → the same, turned counter-clockwise or mirrored top to bottom.
VARIANTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda picture: picture,
    "rot90": lambda picture: np.rot90(picture, 1),
    "rot180": lambda picture: np.rot90(picture, 2),
    "rot270": lambda picture: np.rot90(picture, 3),
    "flip": lambda picture: picture[::-1],
}


def checked(names: list[str]) -> list[str]:
    """The names themselves, or an InputError for the first that is unknown."""
    for name in names:
        if name not in VARIANTS:
            raise one_of("variant", name, VARIANTS)
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class View:
    """What a model sees of a picture: a variant of it, then its own preprocessing."""

    variant: str
    preprocessing: Preprocessing

    @cached_property
    def geometry(self) -> View:
        """The same pixels without their normalisation: equal for models that can share them."""
        channels = len(self.preprocessing.mean)
        plain = replace(self.preprocessing, mean=(0.0,) * channels, std=(1.0,) * channels)
        return View(self.variant, plain)

    def pixels(self, picture: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] or [H, W] → uint8 [C, h, w]."""
        return self.preprocessing.pixels(VARIANTS[self.variant](picture))
