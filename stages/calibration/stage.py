"""logits → is a model as sure as it is right? Every model's temperature, before and after."""

from __future__ import annotations

from typing import Any

from cache import InputError, Store
from stages.calibration.metrics import Calibration, Quality, calibrate, crossfit
from stages.heterogeneity import or_none
from stages.results import save
from stages.scores import ScoreSet, parts_of
from stages.threshold import FitPlan, folds

Row = dict[str, Any]
WHEN = ("before", "after")
MEASURES = ("nll", "ece", "aurc", "augrc")


def calibrate_models(
    store: Store, reported: ScoreSet, plan: FitPlan
) -> tuple[list[Row], list[Row]]:
    """(a row per model, a row per model, before or after, and bin of its reliability diagram).

    Also written to results/calibrate and results/reliability. InputError where the cache has no
    logits of a model.
    """
    found = {name: _calibrated(store, reported, plan, m) for m, name in enumerate(reported.models)}
    where = {"split": reported.split, "fit_split": plan.split, "fit_method": plan.method}
    rows = [_row(name, each) | where for name, each in found.items()]
    bins = [
        {"model": name, "when": when} | row | where
        for name, each in found.items()
        for when in WHEN
        for row in _bins(getattr(each, when))
    ]
    for stage, table in (("calibrate", rows), ("reliability", bins)):
        save(store, stage, reported, {"fit": [plan.method, plan.split]}, table)
    return rows, bins


def _calibrated(store: Store, reported: ScoreSet, plan: FitPlan, m: int) -> Calibration:
    sets = (plan.scores, reported)
    fitting, reporting = (parts_of(store, scores, m) for scores in sets)
    if fitting is None or reporting is None:
        split = plan.split if fitting is None else reported.split
        raise InputError(
            f"the cache has scores but no logits of {reported.models[m]} on {split}: extract or "
            "import them, or leave it out with --models"
        )
    if plan.method == "cross-fit":
        return crossfit(reporting, reported.labels, folds(len(reported.labels)))
    return calibrate(fitting, plan.scores.labels, reporting, reported.labels)


def _row(model: str, found: Calibration) -> Row:
    sides = {"before": found.before, "after": found.after}
    return {
        "model": model,
        "n": found.before.n,
        "accuracy": found.before.accuracy,
        "temperature": found.temperature.value,
        "bounded": found.temperature.bounded,
        **{f"{name}_{when}": getattr(q, name) for name in MEASURES for when, q in sides.items()},
        "fit_n": found.temperature.n,
        "fit_nll_before": found.temperature.nll_before,
        "fit_nll_after": found.temperature.nll_after,
    }


def _bins(quality: Quality) -> list[Row]:
    bins = quality.reliability
    return [
        {
            "bin": i,
            "low": float(bins.edges[i]),
            "high": float(bins.edges[i + 1]),
            "count": int(count),
            "confidence": or_none(bins.confidence[i]),
            "accuracy": or_none(bins.accuracy[i]),
        }
        for i, count in enumerate(bins.count)
    ]
