"""Matrix products of whole numbers, exact, on the caller's thread alone."""

from __future__ import annotations

import numpy as np

# Up to so many multiply-adds OpenBLAS starts no threads. For products this thin they gain nothing,
# and where they wait for a core on a busy machine they cost tenfold.
_SERIAL = 1 << 18


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[..., S] and [S, K] → [..., K], in the type of `right`.

    In float64 exact as long as no sum exceeds 2⁵³, in whatever order it is added up.
    """
    rows = left.reshape(-1, left.shape[-1])
    size, columns = right.shape
    out = np.empty((len(rows), columns), right.dtype)
    step = max(1, _SERIAL // (size * columns))
    for start in range(0, len(rows), step):
        stretch = slice(start, start + step)
        np.matmul(rows[stretch].astype(right.dtype), right, out=out[stretch])
    return out.reshape(*left.shape[:-1], columns)
