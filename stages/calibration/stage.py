"""logits → is a model as sure as it is right? Every model's temperature, before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cache import InputError, Store
from stages.calibration.metrics import Calibration, Reliability, calibrate, crossfit
from stages.heterogeneity import or_none
from stages.results import Row, save
from stages.scores import ScoreSet, parts_of
from stages.threshold import FitPlan, folds


@dataclass(frozen=True)
class ModelCalibration(Row):
    """A model's temperature, and how sure it is before and after: a row of results/calibrate.

    `nll` is in nats per image; `bounded` where the temperature stopped at an end of its range.
    """

    model: str
    n: int
    accuracy: float
    temperature: float
    bounded: bool
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    aurc_before: float
    aurc_after: float
    augrc_before: float
    augrc_after: float
    fit_n: int
    fit_nll_before: float
    fit_nll_after: float
    split: str
    fit_split: str
    fit_method: str


@dataclass(frozen=True)
class ReliabilityBin(Row):
    """A bin (low, high] of a model's largest probability, `when` before or after: a row of
    results/reliability. `confidence` and `accuracy` are means, None without images."""

    model: str
    when: str
    bin: int
    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None
    split: str
    fit_split: str
    fit_method: str


def calibrate_models(
    store: Store, reported: ScoreSet, plan: FitPlan
) -> tuple[list[ModelCalibration], list[ReliabilityBin]]:
    """(one per model, one per model, before or after, and bin of its reliability diagram).

    Also written to results/calibrate and results/reliability. InputError where the cache has no
    logits of a model.
    """
    found = {name: _calibrated(store, reported, plan, m) for m, name in enumerate(reported.models)}
    where = (reported.split, plan.split, plan.method)
    models = [_model(name, each, where) for name, each in found.items()]
    bins = [
        each
        for name, one in found.items()
        for when, quality in (("before", one.before), ("after", one.after))
        for each in _bins(name, when, quality.reliability, where)
    ]
    for stage, table in (("calibrate", models), ("reliability", bins)):
        save(store, stage, reported, {"fit": [plan.method, plan.split]}, table)
    return models, bins


def _calibrated(store: Store, reported: ScoreSet, plan: FitPlan, m: int) -> Calibration:
    fitting, reporting = (parts_of(store, scores, m) for scores in (plan.scores, reported))
    if fitting is None or reporting is None:
        split = plan.split if fitting is None else reported.split
        raise InputError(
            f"the cache has scores but no logits of {reported.models[m]} on {split}: extract or "
            "import them, or leave it out with --models"
        )
    if plan.method == "cross-fit":
        return crossfit(reporting, reported.labels, folds(len(reported.labels)))
    return calibrate(fitting, plan.scores.labels, reporting, reported.labels)


def _model(model: str, found: Calibration, where: tuple[str, str, str]) -> ModelCalibration:
    before, after, t = found.before, found.after, found.temperature
    errors = (before.nll, after.nll, before.ece, after.ece)
    areas = (before.aurc, after.aurc, before.augrc, after.augrc)
    fit = (t.n, t.nll_before, t.nll_after)
    known = (model, before.n, before.accuracy, t.value, t.bounded)
    return ModelCalibration(*known, *errors, *areas, *fit, *where)


def _bins(
    model: str, when: str, bins: Reliability, where: tuple[str, str, str]
) -> Iterator[ReliabilityBin]:
    for i, count in enumerate(bins.count):
        low, high = map(float, bins.edges[i : i + 2])
        means = or_none(bins.confidence[i]), or_none(bins.accuracy[i])
        yield ReliabilityBin(model, when, i, low, high, int(count), *means, *where)
