"""Pillow's Lanczos resize of 8-bit grey images, bit for bit, for whole batches.

Source: Pillow's Resample.c: weights as integers in units of 2⁻²², first along the rows, rounded and
clipped to 8 bits, then along the columns, rounded and clipped again.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from stages.hashes.product import product

_SUPPORT = 3.0
_UNIT = float(1 << 22)


def down_first(size: tuple[int, int], to: tuple[int, int]) -> bool:
    """Whether Pillow (13 and later; earlier ones never) shrinks (height, width) downwards first."""
    down, across = size[0] - to[0], size[1] - to[1]
    return down > 0 and down > 2 * across


def resized(grey: np.ndarray, down: np.ndarray, across: np.ndarray, first: bool) -> np.ndarray:
    """[N, H, W] and weights [H, h] and [W, w] → [N, h, w], float64 holding 0 … 255.

    `first`: downwards before across.
    """
    if first:
        return _pass(_pass(grey.transpose(0, 2, 1), down).transpose(0, 2, 1), across)
    return _pass(_pass(grey, across).transpose(0, 2, 1), down).transpose(0, 2, 1)


def _pass(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[N, A, B] and weights [B, b] → [N, A, b]."""
    return _rounded(product(images, weights))


def _rounded(sums: np.ndarray) -> np.ndarray:
    sums += _UNIT / 2
    sums /= _UNIT
    np.floor(sums, out=sums)
    return np.clip(sums, 0, 255, out=sums)


@lru_cache(maxsize=256)
def lanczos(size: int, to: int) -> np.ndarray:
    """Integer weights in units of 2⁻²², float64 [size, to]; the identity where nothing changes."""
    if size == to:  # Pillow skips the pass
        return np.eye(size) * _UNIT
    scale = size / to
    stretch = max(scale, 1.0)
    centre = (np.arange(to) + 0.5) * scale
    first = np.maximum((centre - _SUPPORT * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + _SUPPORT * stretch + 0.5).astype(np.int64), size)
    at = np.arange(size)[:, None]
    weights = _kernel((at - centre + 0.5) * (1.0 / stretch))
    weights[(at < first) | (at >= last)] = 0.0
    weights /= weights.sum(axis=0)
    fixed = np.trunc(weights * _UNIT + np.copysign(0.5, weights))
    fixed.flags.writeable = False
    return fixed


def _kernel(x: np.ndarray) -> np.ndarray:
    """sinc(x)·sinc(x/3) within ±3."""
    return np.where(np.abs(x) < _SUPPORT, np.sinc(x) * np.sinc(x / _SUPPORT), 0.0)
