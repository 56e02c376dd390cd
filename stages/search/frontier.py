"""Operating points that no other beats, however many are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from stages.costs import pareto

# Less than any credit, and far enough from the least int64.
_NONE = -(2**62)


@dataclass(frozen=True)
class Points:
    """P operating points, columns [P].

    `cost` float64 per request; `right` int64 answers, under a loss their credit; `first`,
    `second`, `rule` int32, the models A and B (−1: A alone) and which rule decides; `k` int64, how
    many images B runs on.
    """

    cost: np.ndarray
    right: np.ndarray
    first: np.ndarray
    second: np.ndarray
    rule: np.ndarray
    k: np.ndarray

    def __len__(self) -> int:
        return len(self.cost)

    def take(self, rows: np.ndarray) -> Points:
        return Points(*(getattr(self, column.name)[rows] for column in fields(self)))

    @classmethod
    def joined(cls, several: Sequence[Points]) -> Points:
        return cls(
            *(np.concatenate([getattr(p, column.name) for p in several]) for column in fields(cls))
        )

    @classmethod
    def alone(cls, cost: np.ndarray, right: np.ndarray) -> Points:
        """Single models, in their order: float64 [M], int64 [M]."""
        m = len(cost)
        return cls(
            np.asarray(cost, np.float64),
            np.asarray(right, np.int64),
            np.arange(m, dtype=np.int32),
            np.full(m, -1, np.int32),
            np.full(m, -1, np.int32),
            np.zeros(m, np.int64),
        )


class Frontier:
    """The Pareto frontier of all points added so far."""

    def __init__(self, points: Points) -> None:
        self._replace(points)

    def _replace(self, points: Points) -> None:
        self.points = points.take(pareto(points.cost, points.right))
        # One object, so that a thread that reads never sees half of what another replaces.
        self._steps = (self.points.cost, np.concatenate(([_NONE], self.points.right)))

    def bar(self, cost: np.ndarray) -> np.ndarray:
        """The most right answers at no more than these costs: int64, −2^62 where there is none.

        Costs in any shape; a point of this cost must be right more often to join the frontier.
        """
        steps, right = self._steps
        return right[steps.searchsorted(cost, side="right")]

    def add(self, points: Points) -> None:
        self._replace(Points.joined([self.points, points]))
