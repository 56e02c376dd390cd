"""Grey values as Pillow's convert("L") gives them, for whole batches."""

from __future__ import annotations

import numpy as np

# ITU-R 601-2 luma in units of 2⁻¹⁶, as in Pillow's Convert.c; one half is added before truncating.
_WEIGHTS = (19595, 38470, 7471)
_HALF = 1 << 15
# Pixels converted at a time, so that the 32-bit intermediates stay in the cache.
_BLOCK = 1 << 15


def grey(pictures: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, 3] in RGB → uint8 [N, H, W]; [N, H, W] comes back as it is.

    >>> grey(np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]], np.uint8)).tolist()
    [[[76, 150, 29]]]
    """
    if pictures.ndim == 3:
        return pictures
    shape = pictures.shape[:-1]
    out = np.empty(shape, np.uint8)
    rows = max(1, _BLOCK // max(1, shape[1] * shape[2]))
    for start in range(0, len(pictures), rows):
        out[start : start + rows] = _luma(pictures[start : start + rows])
    return out


def _luma(pictures: np.ndarray) -> np.ndarray:
    total = np.full(pictures.shape[:-1], _HALF, np.uint32)
    for channel, weight in enumerate(_WEIGHTS):
        total += np.multiply(pictures[..., channel], np.uint32(weight), dtype=np.uint32)
    return total >> np.uint32(16)
