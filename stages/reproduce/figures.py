"""A setting's figures from its models' scores: ours, each beside what is published of it.

Every row has `published`, None where nobody published it, with its `source`, and `ours`, None where
it could not be made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stages.datasets.spec import spec as dataset_spec
from stages.fitting import FitPlan
from stages.heterogeneity import matrix
from stages.judged import wilson
from stages.models import Published, specs
from stages.reproduce.case import Case
from stages.reproduce.memory import Remembering, memory, reduction
from stages.score import ScoreSet
from stages.simulate import NO_FIT, Cascade, priced, simulate
from stages.threshold import Question, cascade_of, operating_points

Row = dict[str, Any]

_COST = ("cost_kind", "cost_unit", "cost_device", "cost_why")
_AGAINST = (
    *("baseline", "saved", "saved_low", "saved_high"),
    *("accuracy_change", "accuracy_change_low", "accuracy_change_high"),
)


def setting_row(
    case: Case, original: FitPlan, honest: FitPlan, remembering: Mapping[float, Remembering]
) -> Row:
    """All figures of a setting; `original` is where its own method fits λ, `honest` where ours."""
    setting = case.setting
    about = None if case.pricer is None else case.pricer.about()
    rows = list(memory(case, remembering))
    return {
        "dataset": setting.dataset,
        "split": case.reported.split,
        "n": len(case.reported.labels),
        "model_1": setting.model_1,
        "model_2": setting.model_2,
        "score": setting.score,
        "threshold": setting.threshold,
        "postcheck": setting.postcheck,
        "source": setting.source,
        "note": setting.note,
        "fit_notes": list(dict.fromkeys((*original.notes, *honest.notes))),
        "single": case.single,
        "cost": about and {key: about[key] for key in _COST},
        "single_models": single_models(case),
        "thresholds": [*published_thresholds(case), *fitted_thresholds(case, original, honest)],
        "pair": pair_measures(case),
        "memory": rows,
        "reduction": reduction(case, rows),
    }


def single_models(case: Case) -> list[Row]:
    """The two models and the most accurate one; `same_weights` tells whether ours are the published
    ones, None where it is not known."""
    names = dict.fromkeys((case.setting.model_1, case.setting.model_2, case.single))
    return [_single(case.everyone, name) for name in names]


def _single(scores: ScoreSet, model: str) -> Row:
    m = scores.index(model)
    published = _published(model, scores.dataset)
    return {
        "model": model,
        "published": published and {"accuracy": published.top1},
        "source": published and published.source,
        "same_weights": _same(published, scores.manifests[m].provenance.get("weights_sha256")),
        "ours": _share("accuracy", scores.correct[m]),
    }


def _published(model: str, dataset: str) -> Published | None:
    found = next((spec for spec in specs(dataset) if spec.name == model), None)
    return None if found is None else found.published


def _same(published: Published | None, sha256: str | None) -> bool | None:
    if published is None or sha256 is None:
        return None
    return sha256.startswith(published.sha256_prefix)


def published_thresholds(case: Case) -> list[Row]:
    """The published λ; of an entropy that may be in nats both ways, ours is a share of ln K."""
    setting = case.setting
    values: dict[str | None, float] = {None: setting.threshold}
    if setting.in_nats:
        known = dataset_spec(setting.dataset)
        if known is None:
            raise ValueError(f"{setting.dataset} has no known number of classes")
        nats = setting.threshold / math.log(known.classes)
        values = {"share of ln K": setting.threshold, "nats": nats}
    return [
        {
            "by": "published",
            "unit": unit,
            "published": {"threshold": setting.threshold},
            "source": setting.source,
            "ours": _deployed(case, case.cascade(value), NO_FIT),
        }
        for unit, value in values.items()
    ]


def fitted_thresholds(case: Case, original: FitPlan, honest: FitPlan) -> Iterator[Row]:
    """λ as the paper's search finds it, then exactly on images that are not the reported ones."""
    setting = case.setting
    rules = ((setting.score,), (setting.postcheck,))
    grid = Question(*rules, ("best",), case.paper.grid)
    exact = Question(*rules, ("best", "1se"))
    for by, plan, question in (("grid", original, grid), ("exact", honest, exact)):
        searched = question.grid is not None
        for row in operating_points(case.reported, plan, [case.pair], question):
            fit = {key: row[key] for key in NO_FIT}
            yield {
                "by": by,
                "unit": None,
                "published": {"threshold": setting.threshold} if searched else None,
                "source": setting.source if searched else None,
                "ours": _deployed(case, cascade_of(row), fit),
            }


def _deployed(case: Case, cascade: Cascade, fit: Row) -> Row:
    """What a cascade does on the reported images, against B alone and the best single model."""
    outcome = simulate(case.reported, cascade)
    row: Row = {"threshold": cascade.threshold} | fit
    row |= _share("accuracy", outcome.correct) | _share("usage", outcome.escalated)
    for name, model in (("second", cascade.model_2), ("single", case.single)):
        pricer = case.pricer and replace(case.pricer, baseline=model)
        cost = priced(cascade, outcome, pricer)
        row |= {key: cost[key] for key in ("cost", "cost_low", "cost_high")}
        row[f"against_{name}"] = {key: cost[key] for key in _AGAINST} | {"baseline": model}
    return row


def _share(name: str, holds: np.ndarray) -> Row:
    low, high = wilson(int(holds.sum()), len(holds))
    return {name: float(holds.mean()), f"{name}_low": low, f"{name}_high": high}


def pair_measures(case: Case) -> list[Row]:
    """Heterogeneity and complementarity, with the pair's rank among all; equal pairs share it."""
    models = case.everyone.models
    a, b = (models.index(name) for name in (case.setting.model_1, case.setting.model_2))
    rows = []
    for metric in ("heterogeneity", "complementarity"):
        values = matrix(case.everyone.correct, metric)
        pairs = values[np.triu_indices(len(models), 1)]
        rank = 1 + int((pairs > values[a, b]).sum())
        ours = {"value": float(values[a, b]), "rank": rank, "pairs": len(pairs)}
        rows.append({"metric": metric, "published": None, "source": None, "ours": ours})
    return rows
