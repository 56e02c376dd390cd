"""scores → does a measure of diversity find the pairs whose cascade gains most?

Measured on the fitting images, as by whoever picks a pair; the gain is that on the reported ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, make_dataclass

import numpy as np

from cache import Store
from stages.heterogeneity.pairwise import (
    METRICS,
    best_cascades,
    gains_of,
    measures,
    or_none,
    predictors,
)
from stages.results import Row, save
from stages.scores import ScoreSet
from stages.threshold import FitPlan, ThresholdQuestion, all_pairs, cross_fitted_points

# Whose small values mean that two models differ.
ALIKE = ("double_fault", "q_statistic", "error_correlation", "kappa")


@dataclass(frozen=True)
class GainPredictor(Row):
    """How well a measure tells which pairs gain, and the pair that it would pick: a row of
    results/predictors. None where the measure, or a rank correlation, is not defined."""

    metric: str
    spearman_ordered: float | None
    kendall_ordered: float | None
    spearman_unordered: float | None
    kendall_unordered: float | None
    pairs: int
    picked_1: str | None
    picked_2: str | None
    picked_gain: float | None
    best_gain: float
    split: str
    fit_split: str
    fit_method: str

    @property
    def picked(self) -> str | None:
        """As the table prints it."""
        return self.picked_1 and f"{self.picked_1} → {self.picked_2}"


@dataclass(frozen=True)
class PairGain(Row):
    """An ordered pair, and what its best cascade gains: a row of results/gains, which also says of
    each measure what it is, None where not defined, and what fitted."""

    model_1: str
    model_2: str
    gain: float
    gain_low: float
    gain_high: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def _column(metric: str) -> str:
    """The measure `gain` is of the models, the column `gain` of their cascade."""
    return "gain_of_b" if metric == "gain" else metric


MeasuredGain = make_dataclass(
    "MeasuredGain",
    [
        *((_column(name), float | None) for name in METRICS),
        *((name, str) for name in ("split", "fit_split", "fit_method")),
    ],
    bases=(PairGain,),
    frozen=True,
)


def predict_gains(
    store: Store, reported: ScoreSet, plan: FitPlan
) -> tuple[list[GainPredictor], list[PairGain]]:
    """(one per measure, one per ordered pair).

    Also written to results/predictors and results/gains.
    """
    pairs, names = all_pairs(reported.models), reported.models
    points = cross_fitted_points(reported, plan, pairs, ThresholdQuestion(objectives=("best",)))
    best = best_cascades(points)
    values = measures(plan.scores.correct, plan.scores.predictions)
    where = (reported.split, plan.split, plan.method)
    rows = summary(values, gains_of(best, names), names, where)
    found = [
        MeasuredGain(
            *(names[a], names[b]),
            *astuple(best[names[a], names[b]].change),
            *astuple(best[names[a], names[b]].accuracy),
            *(or_none(values[name][a, b]) for name in METRICS),
            *where,
        )
        for a, b in pairs
    ]
    for stage, table in (("predictors", rows), ("gains", found)):
        save(store, stage, reported, {"fit": [plan.method, plan.split]}, table)
    return rows, found


def summary(
    metrics: Mapping[str, np.ndarray],
    gains: np.ndarray,
    models: Sequence[str],
    where: tuple[str, str, str],
) -> list[GainPredictor]:
    """One per measure: rank correlations, and the pair that the measure would pick.

    metrics: float64 [M, M] by name; gains float64 [M, M], NaN on the diagonal; where: split,
    fit_split and fit_method. Picked is the pair that differs most, in the better of its two
    directions.
    """
    ranked = predictors(metrics, gains)
    found = []
    for name, values in metrics.items():
        ordered, unordered = ranked[name, "ordered"], ranked[name, "unordered"]
        ranks = (ordered.spearman, ordered.kendall, unordered.spearman, unordered.kendall)
        picked = _picked(-values if name in ALIKE else values, gains, models)
        best = float(np.nanmax(gains))
        found.append(GainPredictor(name, *ranks, ordered.n, *picked, best, *where))
    return found


def _picked(
    values: np.ndarray, gains: np.ndarray, models: Sequence[str]
) -> tuple[str | None, str | None, float | None]:
    apart = np.where(np.eye(len(models), dtype=bool), np.nan, values)
    if np.isnan(apart).all():
        return None, None, None
    a, b = divmod(int(np.nanargmax(apart)), len(models))
    if gains[b, a] > gains[a, b]:
        a, b = b, a
    return models[a], models[b], float(gains[a, b])
