"""A setting's figures: what is published, None where nobody did, with its source, beside `ours`,
None where it could not be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from math import log
from typing import Any

import numpy as np

from examples.kinnas2024.case import Case
from examples.kinnas2024.memory import memory, reduction
from examples.kinnas2024.published import GRID
from stages.cascade import Cascade
from stages.heterogeneity import matrix
from stages.models import specs
from stages.simulate import FittedLimit, figures, share_of
from stages.statistics import with_ends
from stages.threshold import FitPlan, ThresholdQuestion, operating_points

Row = dict[str, Any]

_COUNTED = ("cost_kind", "cost_unit", "cost_device", "cost_why")
_FIT = (
    *("fit_split", "fit_method", "fit_n", "objective", "fit_accuracy", "fit_usage"),
    *("threshold_low", "threshold_high"),
)


def _ends(*names: str) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def setting_row(case: Case) -> Row:
    """All figures of a setting on one split."""
    memories = list(memory(case))
    return asdict(case.setting) | {
        "split": case.reported.split,
        "n": len(case.reported.labels),
        "fit_notes": list(dict.fromkeys((*case.original.notes, *case.honest.notes))),
        "single": case.single,
        "cost": case.pricer and {key: getattr(case.pricer.about(), key) for key in _COUNTED},
        "single_models": [
            _single_model(case, model)
            for model in dict.fromkeys((case.setting.model_1, *case.rivals.values()))
        ],
        "thresholds": [*published_thresholds(case), *fitted_thresholds(case)],
        "pair": [_pair_measure(case, name) for name in ("heterogeneity", "complementarity")],
        "memory": memories,
        "reduction": reduction(case, memories),
    }


def _single_model(case: Case, model: str) -> Row:
    """`same_weights` tells whether ours are the published ones, None where it is not known."""
    scores = case.everyone
    known = next((each for each in specs(scores.dataset) if each.name == model), None)
    published, weights = known and known.published, scores.weights[model]
    same = published and weights and weights.startswith(published.sha256_prefix)
    return {
        "model": model,
        "published": published and {"accuracy": published.top1},
        "source": published and published.source,
        "same_weights": same,
        "ours": with_ends("accuracy", share_of(case.right(model), scores.sample_ids)),
    }


def published_thresholds(case: Case) -> Iterator[Row]:
    """The published λ; of an entropy that may be in nats both ways, ours is a share of ln K."""
    setting = case.setting
    values: dict[str | None, float] = {None: setting.threshold}
    if setting.classes is not None:
        nats = setting.threshold / log(setting.classes)
        values = {"share of ln K": setting.threshold, "nats": nats}
    for unit, value in values.items():
        ours = _decided(case, case.cascade(value), dict.fromkeys(case.rivals, FittedLimit()))
        yield _threshold(case, "published", ours) | {"unit": unit}


def fitted_thresholds(case: Case) -> Iterator[Row]:
    """λ as the paper's search finds it, then exactly on images that are not the reported ones."""
    rules = ((case.setting.score,), (case.setting.postcheck,))
    for ours in _fitted(case, case.original, ThresholdQuestion(*rules, ("best",), GRID)):
        yield _threshold(case, "grid", ours)
    for ours in _fitted(case, case.honest, ThresholdQuestion(*rules, ("best", "1se"))):
        yield _threshold(case, "exact", ours) | {"published": None, "source": None}


def _threshold(case: Case, by: str, ours: Row) -> Row:
    published = {"threshold": case.setting.threshold}
    about = {"by": by, "unit": None, "published": published, "source": case.setting.source}
    return about | {"ours": ours}


def _fitted(case: Case, plan: FitPlan, question: ThresholdQuestion) -> Iterator[Row]:
    """Of each objective; folds, where these decide, compare with each rival anew."""
    reported = case.reported
    pair = (reported.index(case.setting.model_1), reported.index(case.setting.model_2))
    points = (
        operating_points(reported, plan, [pair], question, case.right(model))
        for model in case.rivals.values()
    )
    for rows in zip(*points, strict=True):
        fits = [FittedLimit.told(row.fit, row.accuracy, row.against) for row in rows]
        yield _decided(case, rows[0].cascade, dict(zip(case.rivals, fits, strict=True)))


def _decided(case: Case, cascade: Cascade, fits: Mapping[str, FittedLimit]) -> Row:
    """A cascade on the reported images, and what it saves and how much more accurate it is than B
    alone and the best single model; `fits` say by rival how λ came about."""
    rows = {
        name: figures(
            case.everyone, cascade, replace(fits[name], baseline=model), case.pricer
        ).columns()
        for name, model in case.rivals.items()
    }
    ours = ("threshold", *_FIT, *_ends("accuracy", "usage", "cost"))
    against = ("baseline", *_ends("saved", "accuracy_change"))
    return {key: rows["second"][key] for key in ours} | {
        f"against_{name}": {key: row[key] for key in against} for name, row in rows.items()
    }


def _pair_measure(case: Case, metric: str) -> Row:
    """With the pair's rank among all; equal pairs share it."""
    scores, setting = case.everyone, case.setting
    values = matrix(scores.correct, metric)
    value = values[scores.index(setting.model_1), scores.index(setting.model_2)]
    pairs = values[np.triu_indices(len(scores.models), 1)]
    ours = {"value": float(value), "rank": 1 + int((pairs > value).sum()), "pairs": len(pairs)}
    return {"metric": metric, "published": None, "source": None, "ours": ours}
