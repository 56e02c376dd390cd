"""A model's images in the order in which λ gives them up, and the λ between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.cascade.decision import Scored
from stages.cascade.rule import cut
from stages.cascade.values import ALWAYS, AT, NEVER, Limit
from stages.scores import Score, named


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
