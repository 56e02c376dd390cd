"""scores → who covers whose mistakes: one matrix product for all pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cache import Store
from stages.results import save
from stages.score import ScoreSet


@dataclass(frozen=True)
class Counts:
    """Over N images, for every ordered pair [M, M]: how many are right in A, B and both."""

    n: int
    a: np.ndarray
    b: np.ndarray
    both: np.ndarray

    @classmethod
    def of(cls, correct: np.ndarray) -> Counts:
        """bool [M, N] → counts; exact, for float64 holds integers to 2⁵³."""
        right = correct.astype(np.float64)
        each = right.sum(axis=1)
        shape = (len(each), len(each))
        a, b = np.broadcast_to(each[:, None], shape), np.broadcast_to(each, shape)
        return cls(correct.shape[1], a, b, right @ right.T)

    @property
    def one(self) -> np.ndarray:
        """Images that exactly one of the two gets right."""
        return self.a + self.b - 2 * self.both

    @property
    def union(self) -> np.ndarray:
        return self.a + self.b - self.both


METRICS: dict[str, Callable[[Counts], np.ndarray]] = {
    # Kinnas et al. 2024: the answers differ and one of them is right.
    "heterogeneity": lambda c: c.one / c.n,
    # Kinnas et al. 2024: (n(A∪B) − n(A∩B) − |n(A) − n(B)|)/N.
    "complementarity": lambda c: (c.one - abs(c.a - c.b)) / c.n,
    "oracle_accuracy": lambda c: c.union / c.n,
    "double_fault": lambda c: (c.n - c.union) / c.n,
    # Images that B gets right and A does not: what B can add.
    "gain": lambda c: (c.b - c.both) / c.n,
}


def matrix(correct: np.ndarray, metric: str = "heterogeneity") -> np.ndarray:
    """bool [M, N] → float64 [M, M]; row A, column B.

    >>> matrix(np.array([[True, True, False], [True, False, True]]))
    array([[0.        , 0.66666667],
           [0.66666667, 0.        ]])
    """
    return METRICS[metric](Counts.of(correct))


def run(store: Store, scores: ScoreSet, metric: str) -> np.ndarray:
    """The matrix, also written tidily (model_1, model_2, one column per metric) to the cache."""
    counts = Counts.of(scores.correct)
    values = {name: formula(counts) for name, formula in METRICS.items()}
    rows = [
        {"model_1": first, "model_2": second, "n": counts.n}
        | {name: float(value[i, j]) for name, value in values.items()}
        for i, first in enumerate(scores.models)
        for j, second in enumerate(scores.models)
    ]
    save(store, "heterogeneity", scores, {}, rows)
    return values[metric]
