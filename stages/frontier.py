"""Operating points that no other beats, and the upper hull of them.

A point is a cost per request and a number of right answers. Mixing two points at random reaches
every point on the line between them, so the hull is what randomisation adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Points:
    """P operating points, columns [P].

    `cost` float64 per request; `right` int64 answers; `first`, `second`, `rule` int32, the models A
    and B (−1: A alone) and which rule decides; `k` int64, how many images B runs on.
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


def pareto(cost: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rows that no other row beats, by ascending cost: intp [F].

    A row is beaten by one that costs no more and is right more often, or costs less and is right as
    often; of equal rows the first stays.

    >>> pareto(np.array([1.0, 2.0, 2.0, 3.0]), np.array([5, 5, 7, 6])).tolist()
    [0, 2]
    """
    order = np.lexsort((-right, cost))
    return order[records(right[order])]


def records(values: np.ndarray) -> np.ndarray:
    """Where a value is above all before it, the first always: intp [F]."""
    best = np.maximum.accumulate(values)
    return np.flatnonzero(np.append(np.ones(min(1, len(best)), bool), best[1:] > best[:-1]))


def upper_hull(cost: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rows of a Pareto frontier, by ascending cost, on its upper concave hull: intp [H].

    Points on an edge are no corners. (Andrew's monotone chain, 1979.)

    >>> upper_hull(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 4, 5])).tolist()
    [0, 2, 3]
    """
    hull: list[int] = []
    for i in range(len(cost)):
        while len(hull) > 1 and _below(cost, right, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return np.array(hull, np.intp)


def _below(cost: np.ndarray, right: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether b lies on or below the line from a to c."""
    rise = float(right[b] - right[a]) * (cost[c] - cost[a])
    return bool(rise <= float(right[c] - right[a]) * (cost[b] - cost[a]))


class Frontier:
    """The Pareto frontier of all points added so far."""

    def __init__(self, points: Points) -> None:
        self._replace(points)

    def _replace(self, points: Points) -> None:
        self.points = points.take(pareto(points.cost, points.right))
        # One object, so that a thread that reads never sees half of what another replaces.
        self._steps = (self.points.cost, np.concatenate(([-1], self.points.right)))

    def bar(self, cost: np.ndarray) -> np.ndarray:
        """The most right answers at no more than these costs: int64, −1 where none is that cheap.

        Costs in any shape; a point of this cost must be right more often to join the frontier.
        """
        steps, right = self._steps
        return right[steps.searchsorted(cost, side="right")]

    def add(self, points: Points) -> None:
        self._replace(Points.joined([self.points, points]))
