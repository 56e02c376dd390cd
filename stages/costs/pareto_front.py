"""Costs and right answers that no others beat, and the upper hull of them.

Mixing two points at random reaches every point on the line between them, so the hull is what
randomisation adds.
"""

from __future__ import annotations

import numpy as np


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
