"""scores → who covers whose mistakes: one matrix product for all pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, make_dataclass

import numpy as np

from cache import Store
from stages.results import Row, save
from stages.scores import ScoreSet


@dataclass(frozen=True)
class PairCounts:
    """Over N images, float64: how many are right in A [M, 1], in B [M] and in both [M, M].

    `alike` counts the images where both give the same answer, `chance` how many would if their
    answers had nothing to do with each other; None where only correctness is known.
    """

    n: int
    a: np.ndarray
    b: np.ndarray
    both: np.ndarray
    alike: np.ndarray | None = None
    chance: np.ndarray | None = None

    @classmethod
    def of(cls, correct: np.ndarray, predictions: np.ndarray | None = None) -> PairCounts:
        """correct bool [M, N], predictions int [M, N] → counts; float64 is exact to 2⁵³."""
        right = correct.astype(np.float64)
        each = right.sum(axis=1)
        answers = () if predictions is None else _answers(predictions)
        return cls(correct.shape[1], each[:, None], each, right @ right.T, *answers)

    @property
    def one(self) -> np.ndarray:
        """Images that exactly one of the two gets right."""
        return self.a + self.b - 2 * self.both

    @property
    def union(self) -> np.ndarray:
        return self.a + self.b - self.both

    @property
    def products(self) -> tuple[np.ndarray, np.ndarray]:
        """(both right · both wrong, only A right · only B right): the 2 × 2 table's diagonals."""
        return self.both * (self.n - self.union), (self.a - self.both) * (self.b - self.both)


def _answers(predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(alike, chance) float64 [M, M]; chance is one product of the models' class histograms."""
    alike = np.array([(predictions == one).sum(axis=1) for one in predictions], np.float64)
    classes = int(predictions.max(initial=0)) + 1
    used = np.array([np.bincount(one, minlength=classes) for one in predictions], np.float64)
    return alike, used @ used.T / predictions.shape[1]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where the divisor is 0: the measure is not defined there."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


def _q_statistic(c: PairCounts) -> np.ndarray:
    same, other = c.products
    return _ratio(same - other, same + other)


def _error_correlation(c: PairCounts) -> np.ndarray:
    same, other = c.products
    return _ratio(same - other, np.sqrt(c.a * (c.n - c.a) * c.b * (c.n - c.b)))


def _disagreement(c: PairCounts) -> np.ndarray:
    return (c.n - _known(c.alike)) / c.n


def _kappa(c: PairCounts) -> np.ndarray:
    alike, chance = _known(c.alike), _known(c.chance)
    return _ratio(alike - chance, c.n - chance)


def _known(counts: np.ndarray | None) -> np.ndarray:
    if counts is None:
        raise ValueError("this metric needs the models' answers, not only which are right")
    return counts


METRICS: dict[str, Callable[[PairCounts], np.ndarray]] = {
    # Kinnas et al. 2024: the answers differ and one of them is right.
    "heterogeneity": lambda c: c.one / c.n,
    # Kinnas et al. 2024: (n(A∪B) − n(A∩B) − |n(A) − n(B)|)/N.
    "complementarity": lambda c: (c.one - abs(c.a - c.b)) / c.n,
    "oracle_accuracy": lambda c: c.union / c.n,
    "double_fault": lambda c: (c.n - c.union) / c.n,
    # Images that B gets right and A does not: what B can add.
    "gain": lambda c: (c.b - c.both) / c.n,
    # The answers differ, whether or not one of them is right.
    "disagreement": _disagreement,
    # Of the 2 × 2 table of right and wrong (Kuncheva & Whitaker 2003).
    "q_statistic": _q_statistic,
    "error_correlation": _error_correlation,
    # Cohen 1960, of the two models' answers.
    "kappa": _kappa,
}


def matrix(
    correct: np.ndarray, metric: str = "heterogeneity", predictions: np.ndarray | None = None
) -> np.ndarray:
    """bool [M, N] → float64 [M, M]; row A, column B; NaN where it is not defined.

    `disagreement` and `kappa` need predictions int [M, N] too, else ValueError.

    >>> matrix(np.array([[True, True, False], [True, False, True]]))
    array([[0.        , 0.66666667],
           [0.66666667, 0.        ]])
    """
    return METRICS[metric](PairCounts.of(correct, predictions))


def measures(correct: np.ndarray, predictions: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric's matrix, float64 [M, M] each."""
    counts = PairCounts.of(correct, predictions)
    return {name: formula(counts) for name, formula in METRICS.items()}


def or_none(value: float) -> float | None:
    """NaN is null in tables."""
    return None if np.isnan(value) else float(value)


# A row of results/heterogeneity: an ordered pair, and each measure, None where not defined.
PairDiversity = make_dataclass(
    "PairDiversity",
    [("model_1", str), ("model_2", str), ("n", int), *((each, float | None) for each in METRICS)],
    bases=(Row,),
    frozen=True,
)


def run(store: Store, scores: ScoreSet, metric: str = "heterogeneity") -> np.ndarray:
    """The matrix float64 [M, M], also written to results/heterogeneity."""
    values, n = measures(scores.correct, scores.predictions), len(scores.labels)
    rows = [
        PairDiversity(first, second, n, *(or_none(values[name][i, j]) for name in METRICS))
        for i, first in enumerate(scores.models)
        for j, second in enumerate(scores.models)
    ]
    save(store, "heterogeneity", scores, {}, rows)
    return values[metric]
