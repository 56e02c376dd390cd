"""A model's temperature in three digits, as rules use it.

NLL is so flat around its least value that a further digit of T changes nothing; folds of the same
images then ask for the same few T, of which each needs one pass over the logits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# From 0.01 to 100.
GRID = np.array([float(f"{m}e{e}") for e in range(-4, 0) for m in range(100, 1000)] + [100.0])


def least(nll: Callable[[float], float], start: float) -> float:
    """The T of the grid with the least NLL: convex in 1/T, so downhill from anywhere ends there.

    >>> least(lambda t: (1 / t - 0.75) ** 2, start=1.0)
    1.33
    """
    i = int(np.abs(np.log(GRID / start)).argmin())
    for step in (1, -1):
        while 0 <= i + step < len(GRID) and nll(GRID[i + step]) < nll(GRID[i]):
            i += step
    return float(GRID[i])
