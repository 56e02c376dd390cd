"""scores → does a measure of diversity find the pairs whose cascade gains most?

Measured on the fitting images, as by whoever picks a pair; the gain is that on the reported ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, make_dataclass

import numpy as np

from cache import Store
from stages import threshold
from stages.heterogeneity.pairwise import METRICS, measures, or_none
from stages.results import Row, save
from stages.scores import ScoreSet
from stages.statistics import Interval
from stages.threshold import FitPlan, FoldCounts, OperatingPoint, ThresholdQuestion

Point = tuple[OperatingPoint, FoldCounts | None]  # and what its folds decided

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


# A row of results/gains: an ordered pair, what its best cascade gains, each measure, None where not
# defined, and what fitted.
MeasuredGain = make_dataclass(
    "MeasuredGain",
    [
        *((name, str) for name in ("model_1", "model_2")),
        *((name, Interval) for name in ("gain", "accuracy")),
        # The measure `gain` is of the models, the column `gain` of their cascade.
        *(("gain_of_b" if name == "gain" else name, float | None) for name in METRICS),
        *((name, str) for name in ("split", "fit_split", "fit_method")),
    ],
    bases=(Row,),
    frozen=True,
)


def predict_gains(
    store: Store, reported: ScoreSet, plan: FitPlan
) -> tuple[list[GainPredictor], list[Row]]:
    """(one per measure, one per ordered pair).

    Also written to results/predictors and results/gains.
    """
    pairs, names = threshold.all_pairs(reported.models), reported.models
    question = ThresholdQuestion(reported.own, objectives=("best",))
    points = threshold.cross_fitted_points(reported, plan, pairs, question)
    best = best_cascades(points)
    values = measures(plan.scores.correct, plan.scores.predictions)
    where = (reported.split, plan.split, plan.method)
    rows = summary(values, gains_of(best, names), names, where)
    found = []
    for a, b in pairs:
        row = best[names[a], names[b]]
        known = (or_none(values[name][a, b]) for name in METRICS)
        gained = (row.against.accuracy_change, row.accuracy)
        found.append(MeasuredGain(names[a], names[b], *gained, *known, *where))
    for stage, table in (("predictors", rows), ("gains", found)):
        save(store, stage, reported, {"fit": [plan.method, plan.split]}, table)
    return rows, found


def best_cascades(points: Iterable[Point]) -> dict[tuple[str, str], OperatingPoint]:
    """By (A, B). `points` are operating points with what folds decided of them, as
    `threshold.cross_fitted_points` gives them; one of an oracle counts nothing.

    Of a pair's points the best fit counts: the most accurate, then the least use of B, then the
    first; where folds decided, each by the best of the others, and the row tells what these say.
    """
    several: dict[tuple[str, str], list[Point]] = {}
    for row, decided in points:
        if row.fit.fit_accuracy is not None:
            several.setdefault((row.model_1, row.model_2), []).append((row, decided))
    return {pair: _best(found) for pair, found in several.items()}


def _best(points: Sequence[Point]) -> OperatingPoint:
    folds = [decided for _, decided in points if decided is not None]
    best = min((row for row, _ in points), key=lambda row: row.rank)
    return best.told(threshold.best_of(folds) if folds else None)


def gains_of(found: Mapping[tuple[str, str], OperatingPoint], models: Sequence[str]) -> np.ndarray:
    """float64 [M, M]: what the cascade A → B gains over the more accurate of the two, by the images
    that fit λ; NaN without one."""
    out = np.full((len(models), len(models)), np.nan)
    for (first, second), row in found.items():
        out[models.index(first), models.index(second)] = row.against.accuracy_change.value
    return out


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ and Kendall's τ-b over `n` pairs, None where either side is constant."""

    n: int
    spearman: float | None = None
    kendall: float | None = None


def predictors(
    metrics: Mapping[str, np.ndarray], gains: np.ndarray
) -> dict[tuple[str, str], RankCorrelation]:
    """How well each metric ranks the pairs by what their cascade gains.

    metrics: float64 [M, M] by name; gains as `gains_of` gives them, NaN leaves a pair out.
    By (metric, "ordered") over the ordered pairs, by (metric, "unordered") over the unordered ones
    in the better of their two directions.
    """
    ordered = ~np.isnan(gains) & ~np.eye(len(gains), dtype=bool)
    filled = np.where(ordered, gains, -np.inf)
    better = (filled > filled.T) | ((filled == filled.T) & np.triu(np.ones_like(ordered), 1))
    chosen = {"ordered": ordered, "unordered": ordered & better}
    return {
        (name, pairs): _rank(values[mask], gains[mask])
        for name, values in metrics.items()
        for pairs, mask in chosen.items()
    }


def _rank(values: np.ndarray, gains: np.ndarray) -> RankCorrelation:
    from scipy.stats import kendalltau, spearmanr

    known = ~np.isnan(values)
    values, gains = values[known], gains[known]
    if len(np.unique(values)) < 2 or len(np.unique(gains)) < 2:
        return RankCorrelation(len(values))
    found = (rank(values, gains).statistic for rank in (spearmanr, kendalltau))
    return RankCorrelation(len(values), *map(float, found))


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
    ranked, best = predictors(metrics, gains), float(np.nanmax(gains))
    found = []
    for name, values in metrics.items():
        ordered, unordered = ranked[name, "ordered"], ranked[name, "unordered"]
        ranks = (ordered.spearman, ordered.kendall, unordered.spearman, unordered.kendall)
        picked = _picked(-values if name in ALIKE else values, gains, models)
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
