"""The exact threshold sweep: every λ that decides differently, in one sort and one prefix sum.

Accuracy is a step function of λ that changes only where s_A changes. With the images sorted least
sure first, sending the k least sure to B changes the number of right answers by the prefix sum of
correct_final − correct_A. Only the ends of groups of equal scores can be reached by a λ. With
post-check correct_final does not depend on λ, so the same sweep serves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.cascade.decision import Scored
from stages.cascade.ordering import Ordering
from stages.cascade.rule import takes_b
from stages.scores import Score, named
from stages.statistics import within_one_se

OBJECTIVES = ("best", "1se")


def gains(
    score: Score,
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    s_a: np.ndarray,
    s_b: np.ndarray,
    postcheck: bool,
) -> np.ndarray:
    """int8 [N]: correct_final − correct_A for each image once B has run."""
    gain = correct_b.view(np.int8) - correct_a.view(np.int8)
    if postcheck:
        gain *= takes_b(score, s_a, s_b, postcheck).view(np.int8)
    return gain


def pair_gains(scores: Scored, name: str, a: int, b: int, postcheck: bool) -> np.ndarray:
    """The same of the models a and b, by the score `name`."""
    s_a, s_b, right = scores.score(name, a), scores.score(name, b), scores.correct
    return gains(named(name), right[a], right[b], s_a, s_b, postcheck)


def sums(values: np.ndarray, dtype: type = np.int32) -> np.ndarray:
    """[..., n + 1]: the sums of the first 0 to n along the last axis."""
    out = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype)
    np.cumsum(values, axis=-1, dtype=dtype, out=out[..., 1:])
    return out


def prefix(ordering: Ordering, gain: np.ndarray) -> np.ndarray:
    """int32 [N + 1]: change in the number of right answers when the k least sure go to B."""
    return sums(gain[ordering.order])


def one_se_end(ordering: Ordering, gain: np.ndarray, at_ends: np.ndarray, best: int) -> int:
    """Index of the least use of B within one paired standard error of the best point; points that
    use B more than that cannot be chosen."""
    k_best = ordering.ends[best]
    touched = sums(gain[ordering.order[:k_best]] != 0)
    ends = ordering.ends[: best + 1]
    short = at_ends[best] - at_ends[: best + 1].astype(np.int64)
    return int(within_one_se(short, touched[k_best] - touched[ends]).argmax())


@dataclass(frozen=True)
class Fit:
    """One operating point: `k` images are sent to B, `gain` more answers are right."""

    k: int
    gain: int


def fit(ordering: Ordering, gain: np.ndarray, objectives: tuple[str, ...]) -> dict[str, Fit]:
    """The chosen points of the exact sweep, by objective."""
    at_ends = prefix(ordering, gain)[ordering.ends]
    best = int(at_ends.argmax())  # the highest gain, then the least use of B
    chosen = {"best": best}
    if "1se" in objectives:
        chosen["1se"] = one_se_end(ordering, gain, at_ends, best)
    return {
        name: Fit(int(ordering.ends[chosen[name]]), int(at_ends[chosen[name]]))
        for name in objectives
    }
