"""The exact threshold sweep: every λ that decides differently, in one sort and one prefix sum.

Accuracy is a step function of λ that changes only where s_A changes. With the images sorted least
sure first, sending the k least sure to B changes the number of right answers by the prefix sum of
correct_final − correct_A. Only the ends of groups of equal scores can be reached by a λ. With
post-check correct_final does not depend on λ, so the same sweep serves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.cascade.decision import Scored
from stages.cascade.rule import cut, takes_b
from stages.cascade.values import ALWAYS, AT, NEVER, Limit
from stages.scores import named
from stages.softmax import Score
from stages.statistics import within_one_se

OBJECTIVES = ("best", "1se")


@dataclass(frozen=True)
class Ordering:
    """A model's images, least sure first.

    `order` intp [N]; `values` float64 [N], the scores in that order; `ends` intp [P], every number
    of images that some λ sends to B, ascending from 0 to N.
    """

    score: Score
    order: np.ndarray
    values: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, score: Score, s_a: np.ndarray) -> Ordering:
        """Sort scores float64 [N]."""
        order = np.argsort(score.sign * s_a)
        values = s_a[order]
        return cls(score, order, values, group_ends(values))

    @classmethod
    def by(cls, scores: Scored, name: str, a: int) -> Ordering:
        """By the score `name` of model a."""
        return cls.of(named(name), scores.score(name, a))

    def subset(self, keep: np.ndarray) -> Ordering:
        """The ordering of the images where `keep` (bool [N]) holds; ids stay those of the whole."""
        inside = keep[self.order]
        values = self.values[inside]
        return Ordering(self.score, self.order[inside], values, group_ends(values))

    @cached_property
    def _keys(self) -> np.ndarray:
        return self.score.sign * self.values

    @cached_property
    def _edges(self) -> np.ndarray:
        return np.concatenate(([-np.inf], self._keys, [np.inf]))

    def escalated(self, limit: Limit) -> int:
        """How many images this λ sends to B."""
        return int(self.escalated_by(np.array(cut(self.score, limit))))

    def escalated_by(self, cuts: np.ndarray) -> np.ndarray:
        """The same for many λ on the axis where larger is surer: float64 [T] → intp [T]."""
        return np.searchsorted(self._keys, cuts, side="left")

    def cuts(self, ends: np.ndarray) -> np.ndarray:
        """λ on that axis that send exactly the `ends` least sure to B: float64, the midpoint of two
        scores, or the included end where it rounds to the excluded one; ±∞ where B always or never
        runs."""
        less, surer = self._edges[ends], self._edges[ends + 1]
        middle = (less + surer) / 2
        return np.where((middle == less) & (ends > 0), surer, middle)

    def limit(self, k: int) -> Limit:
        """The λ that sends exactly the k least sure images to B, with its interval."""
        less, surer = (None if np.isinf(edge) else float(self.score.sign * edge)
                       for edge in self._edges[k : k + 2])  # fmt: skip
        ends = (less, surer) if self.score.sign > 0 else (surer, less)
        if less is None or surer is None:
            return Limit(NEVER if less is None else ALWAYS, None, *ends)
        return Limit(AT, float(self.score.sign * self.cuts(np.array(k))), *ends)


def group_ends(values: np.ndarray) -> np.ndarray:
    """intp [P]: 0, then where each group of equal neighbours ends."""
    if not len(values):
        return np.zeros(1, np.intp)
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.concatenate(([0], changes, [len(values)])).astype(np.intp)


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


def prefix(ordering: Ordering, gain: np.ndarray) -> np.ndarray:
    """int32 [N + 1]: change in the number of right answers when the k least sure go to B."""
    total = np.empty(len(ordering.order) + 1, np.int32)
    total[0] = 0
    np.cumsum(gain[ordering.order], dtype=np.int32, out=total[1:])
    return total


def best_end(at_ends: np.ndarray) -> int:
    """Index of the highest gain, then the least use of B."""
    return int(at_ends.argmax())


def one_se_end(ordering: Ordering, gain: np.ndarray, at_ends: np.ndarray, best: int) -> int:
    """Index of the least use of B within one paired standard error of the best point; points that
    use B more than that cannot be chosen."""
    k_best = ordering.ends[best]
    touched = np.zeros(k_best + 1, np.int64)
    np.cumsum(gain[ordering.order[:k_best]] != 0, out=touched[1:])
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
    best = best_end(at_ends)
    chosen = {"best": best}
    if "1se" in objectives:
        chosen["1se"] = one_se_end(ordering, gain, at_ends, best)
    return {
        name: Fit(int(ordering.ends[chosen[name]]), int(at_ends[chosen[name]]))
        for name in objectives
    }
