"""The exact threshold sweep: every λ that decides differently, in one sort and one prefix sum.

Accuracy is a step function of λ that changes only where s_A changes. With the images sorted least
sure first, sending the k least sure to B changes the number of right answers by the prefix sum of
correct_final − correct_A. Only the ends of groups of equal scores can be reached by a λ. With
post-check correct_final does not depend on λ, so the same sweep serves.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import DTypeLike

from stages.cascade.decision import Scored
from stages.cascade.ordering import Ordering
from stages.cascade.rule import takes_b
from stages.scores import Score, named
from stages.statistics import within_one_se

OBJECTIVES = ("best", "1se")


def gains(
    score: Score,
    credit_a: np.ndarray,
    credit_b: np.ndarray,
    s_a: np.ndarray,
    s_b: np.ndarray,
    postcheck: bool,
) -> np.ndarray:
    """int [N], of the credits' type: credit_final − credit_A for each image once B has run; credits
    may be bool, the answer is right."""
    gain = _whole(credit_b) - _whole(credit_a)
    return postchecked(score, gain, s_a, s_b) if postcheck else gain


def postchecked(score: Score, gain: np.ndarray, s_a: np.ndarray, s_b: np.ndarray) -> np.ndarray:
    """int [N]: the gain where B's answer is taken with post-check, else 0."""
    return gain * takes_b(score, s_a, s_b, True).view(np.int8)


def _whole(credit: np.ndarray) -> np.ndarray:
    return credit.view(np.int8) if credit.dtype == bool else credit


def pair_gains(scores: Scored, name: str, a: int, b: int, postcheck: bool) -> np.ndarray:
    """The same of the models a and b, by the score `name`."""
    s_a, s_b, credit = scores.score(name, a), scores.score(name, b), scores.credit
    return gains(named(name), credit[a], credit[b], s_a, s_b, postcheck)


def sums(values: np.ndarray, dtype: DTypeLike | None = None) -> np.ndarray:
    """[..., n + 1]: the sums of the first 0 to n along the last axis, of `sum_type` by default."""
    kind = sum_type(values) if dtype is None else dtype
    out = np.zeros((*values.shape[:-1], values.shape[-1] + 1), kind)
    np.cumsum(values, axis=-1, dtype=kind, out=out[..., 1:])
    return out


def sum_type(values: np.ndarray) -> np.dtype:
    """Of sums of integers along the images, which may be few and large or many and small."""
    return np.dtype(np.int32 if values.dtype.itemsize == 1 else np.int64)


def prefix(ordering: Ordering, gain: np.ndarray) -> np.ndarray:
    """int32 or int64 [N + 1]: change in the summed credit when the k least sure go to B."""
    return sums(gain[ordering.order])


@dataclass(frozen=True)
class Fit:
    """One operating point: `k` images are sent to B, which earns `gain` more credit: so many more
    answers are right."""

    k: int
    gain: int


def fit(ordering: Ordering, gain: np.ndarray, objectives: tuple[str, ...]) -> dict[str, Fit]:
    """The chosen points of the exact sweep, by objective."""
    along = gain[ordering.order]
    at_ends = _at(ordering.ends, sums(along))
    best = int(at_ends.argmax())  # the highest gain, then the least use of B
    chosen = {"best": best}
    if "1se" in objectives:
        chosen["1se"] = _one_se_end(ordering.ends, along, at_ends, best)
    return {
        name: Fit(int(ordering.ends[chosen[name]]), int(at_ends[chosen[name]]))
        for name in objectives
    }


def _at(ends: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Without a copy where no two scores are equal."""
    return total if len(ends) == len(total) else total[ends]


def _one_se_end(ends: np.ndarray, along: np.ndarray, at_ends: np.ndarray, best: int) -> int:
    """Index of the least use of B within one paired standard error of the best point; points that
    use B more than that cannot be chosen, nor those that are short by more than the root of what
    all images before it differ in."""
    k_best = int(ends[best])
    squares = _squares(along[:k_best])
    most = isqrt(int(squares.sum()))
    first = int((at_ends[: best + 1] >= int(at_ends[best]) - most).argmax())
    k_first = int(ends[first])
    touched = sums(squares[k_first:])
    short = int(at_ends[best]) - at_ends[first : best + 1].astype(np.int64)
    np.minimum(short, most + 1, out=short)  # its square stays an int64
    left = touched[-1] - touched[ends[first : best + 1] - k_first]
    return first + int(within_one_se(short, left).argmax())


def _squares(along: np.ndarray) -> np.ndarray:
    """Of differences: bool where none is above 1, else int64."""
    small = along.dtype.itemsize == 1 and not (np.abs(along) > 1).any()
    return along != 0 if small else along.astype(np.int64) ** 2
