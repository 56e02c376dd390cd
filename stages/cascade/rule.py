"""The decision rule of a confidence cascade. numpy only; nobody else decides.

For image i, models A then B, score s and threshold λ: A is trusted when s_A is at least as sure as
λ; otherwise B runs, and its answer is taken, or, with post-check, taken only if B is strictly surer
than A. Every function takes arrays; a live batch of one is their smallest case, and a row's result
never depends on the rows beside it.
"""

from __future__ import annotations

import math

import numpy as np

from stages.cascade.values import ALWAYS, NEVER, Limit
from stages.scores import Score

_ENDS = {ALWAYS: math.inf, NEVER: -math.inf}


def cut(score: Score, limit: Limit) -> float:
    """λ on the axis where larger means surer; B always or never runs at ±∞."""
    return _ENDS[limit.kind] if limit.value is None else score.sign * limit.value


def trusted(score: Score, s_a: np.ndarray, limit: Limit) -> np.ndarray:
    """bool [N]: A's answer stands and B does not run."""
    return score.sign * s_a >= cut(score, limit)


def takes_b(score: Score, s_a: np.ndarray, s_b: np.ndarray, postcheck: bool) -> np.ndarray:
    """bool [N]: B's answer is taken once B has run."""
    if not postcheck or score.needs_label:
        return np.ones(len(s_a), bool)
    return s_b > s_a if score.sign > 0 else s_b < s_a
