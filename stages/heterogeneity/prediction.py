"""scores → does a measure of diversity find the pairs whose cascade gains most?

Measured on the fitting images, as by whoever picks a pair; the gain is that on the reported ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cache import Store
from stages.heterogeneity.pairwise import best_cascades, gains_of, measures, or_none, predictors
from stages.results import save
from stages.scores import ScoreSet
from stages.statistics import with_ends
from stages.threshold import FitPlan, ThresholdQuestion, all_pairs, cross_fitted_points

Row = dict[str, Any]
# Whose small values mean that two models differ.
ALIKE = ("double_fault", "q_statistic", "error_correlation", "kappa")


def predict_gains(store: Store, reported: ScoreSet, plan: FitPlan) -> tuple[list[Row], list[Row]]:
    """(a row per measure, a row per ordered pair with its measures and its cascade's gain).

    Also written to results/predictors and results/gains.
    """
    pairs, names = all_pairs(reported.models), reported.models
    points = cross_fitted_points(reported, plan, pairs, ThresholdQuestion(objectives=("best",)))
    best = best_cascades(points)
    values = measures(plan.scores.correct, plan.scores.predictions)
    where = {"split": reported.split, "fit_split": plan.split, "fit_method": plan.method}
    rows = [row | where for row in summary(values, gains_of(best, names), names)]
    found: list[Row] = [
        {"model_1": names[a], "model_2": names[b]}
        | with_ends("gain", best[names[a], names[b]].change)
        | with_ends("accuracy", best[names[a], names[b]].accuracy)
        | {_column(name): or_none(value[a, b]) for name, value in values.items()}
        | where
        for a, b in pairs
    ]
    for stage, table in (("predictors", rows), ("gains", found)):
        save(store, stage, reported, {"fit": [plan.method, plan.split]}, table)
    return rows, found


def _column(metric: str) -> str:
    """The measure `gain` is of the models, the column `gain` of their cascade."""
    return "gain_of_b" if metric == "gain" else metric


def summary(
    metrics: Mapping[str, np.ndarray], gains: np.ndarray, models: Sequence[str]
) -> list[Row]:
    """One row per measure: rank correlations, and the pair that the measure would pick.

    metrics: float64 [M, M] by name; gains float64 [M, M], NaN on the diagonal. Picked is the pair
    that differs most, in the better of its two directions; null where the measure is not defined.
    """
    ranked = {(row["metric"], row["pairs"]): row for row in predictors(metrics, gains)}
    return [
        {
            "metric": name,
            **{
                f"{rank}_{pairs}": ranked[name, pairs][rank]
                for pairs in ("ordered", "unordered")
                for rank in ("spearman", "kendall")
            },
            "pairs": ranked[name, "ordered"]["n"],
            **_picked(values if name not in ALIKE else -values, gains, models),
            "best_gain": float(np.nanmax(gains)),
        }
        for name, values in metrics.items()
    ]


def _picked(values: np.ndarray, gains: np.ndarray, models: Sequence[str]) -> Row:
    apart = np.where(np.eye(len(models), dtype=bool), np.nan, values)
    if np.isnan(apart).all():
        return {"picked_1": None, "picked_2": None, "picked_gain": None}
    a, b = divmod(int(np.nanargmax(apart)), len(models))
    if gains[b, a] > gains[a, b]:
        a, b = b, a
    return {"picked_1": models[a], "picked_2": models[b], "picked_gain": float(gains[a, b])}
