"""Raw moments of grey pictures, as exact integers about the picture's centre."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import numpy as np

from stages.hashes.product import product

SIDE = 32
# m_pq = Σ xᵖ y^q f, for these (p, q).
ORDERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))
# |m_pq| ≤ 255 · 32 · Σ |x|³ per unit of weight, below 2³¹.
_BOUND = 255 * SIDE * 2 * sum(x**3 for x in range(1, SIDE, 2))
_EXACT_IN_FLOAT = 1 << 53


@dataclass(frozen=True)
class Moments:
    """`raw` int64 [10, N], by ORDERS: those of pictures whose grey values are `unit` times theirs,
    in coordinates twice the pixels', so that the centre of any picture is a whole number."""

    raw: np.ndarray
    unit: int


def moments(grey: np.ndarray) -> Moments:
    """Of pictures uint8 [N, H, W]; those larger than 32×32 shrink first.

    The longer side becomes 32, by area sums in whole numbers: unlike a resize that rounds between
    its passes they are the same for a picture and its turned copy.
    """
    n, height, width = grey.shape
    down, across = area_weights(height, width), area_weights(width, height)
    unit = int(down[0].sum() * across[0].sum())
    if unit > 1:
        grey = _area_sums(grey, down, across)
    powers = _powers(len(down), len(across))
    if unit * _BOUND >= _EXACT_IN_FLOAT:
        powers = powers.astype(np.int64)
    raw = product(grey.reshape(n, -1), powers)
    return Moments(np.ascontiguousarray(raw.T.astype(np.int64)), unit)


def _area_sums(grey: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """[N, H, W] and weights [h, H] and [w, W] → [N, h, w], below 255 · 2³² as whole float64."""
    rows = product(grey, across.T.astype(np.float64))
    return product(rows.transpose(0, 2, 1), down.T.astype(np.float64)).transpose(0, 2, 1)


@lru_cache(maxsize=256)
def area_weights(size: int, other: int) -> np.ndarray:
    """int64 [cells, size]: how much of each pixel lies in each cell, in whole units of area.

    `other` is the picture's other side; the longer of the two becomes 32 cells, the shorter one is
    rounded to keep the shape.
    """
    longer = max(size, other)
    cells = size if longer <= SIDE else max(1, (2 * size * SIDE + longer) // (2 * longer))
    common = gcd(size, cells)
    cell, pixel = size // common, cells // common  # their lengths in the largest unit of both
    left = np.arange(cells)[:, None] * cell
    start = np.arange(size) * pixel
    return np.clip(np.minimum(left + cell, start + pixel) - np.maximum(left, start), 0, None)


@lru_cache(maxsize=256)
def _powers(height: int, width: int) -> np.ndarray:
    """float64 [height · width, 10]: xᵖ y^q at each pixel, about the centre."""
    y = 2 * np.arange(height) - (height - 1)
    x = 2 * np.arange(width) - (width - 1)
    table = [y[:, None] ** q * x[None, :] ** p for p, q in ORDERS]
    return np.stack(table, axis=-1).reshape(height * width, -1).astype(np.float64)
