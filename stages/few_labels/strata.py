"""Which of several promises hold: a chain of tests for each stratum, and one δ for all chains."""

from __future__ import annotations

import numpy as np


def holding(p: np.ndarray, at: int, delta: float) -> np.ndarray:
    """bool [S]: the strata whose first `at` candidates all pass, by p-values float64 [C, S].

    Each stratum has its fixed sequence of the C candidates at level δ/S; one that is through all of
    them hands its level on to the others, as Holm's procedure does (Bretz et al. 2009). With
    probability 1 − δ none of the promises told is false, whatever `at` is.
    """
    most = np.maximum.accumulate(p, axis=0)
    last, here = most[-1], most[max(at - 1, 0)] if at else np.full(p.shape[1], np.inf)
    running = np.ones(p.shape[1], bool)
    while running.any():
        through = running & (last <= delta / running.sum())
        if not through.any():
            break
        running &= ~through
    level = delta / max(running.sum(), 1)
    return ~running | (here <= level) if at else np.zeros(p.shape[1], bool)
