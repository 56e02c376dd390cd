"""A setting's figures from its models' scores: ours, each beside what is published of it.

Every row has `published`, None where nobody published it, with its `source`, and `ours`, None where
it could not be made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from stages.cascade import Cascade, decide
from stages.datasets import spec as dataset_spec
from stages.fitting import FitPlan
from stages.heterogeneity import matrix
from stages.models import Published, specs
from stages.reproduce.case import Case
from stages.reproduce.memory import Remembering, memory, reduction
from stages.score import ScoreSet
from stages.simulate import NO_FIT, priced, share_of
from stages.statistics import Interval, change, from_ends, paired, with_ends
from stages.threshold import Question, cascade_of, operating_points

Row = dict[str, Any]

_COST = ("cost_kind", "cost_unit", "cost_device", "cost_why")


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
        "ours": with_ends("accuracy", share_of(scores.correct[m], scores.sample_ids)),
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
            "ours": _given(case, case.cascade(value)),
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
        for ours in _fitted(case, plan, question):
            yield {
                "by": by,
                "unit": None,
                "published": {"threshold": setting.threshold} if searched else None,
                "source": setting.source if searched else None,
                "ours": ours,
            }


def _given(case: Case, cascade: Cascade) -> Row:
    """What a λ that is given does on the reported images."""
    found, ids = decide(case.reported, cascade), case.reported.sample_ids
    row = dict.fromkeys(_FIT) | {"threshold": cascade.limits[0].threshold, "fit_method": "given"}
    row |= with_ends("accuracy", share_of(found.correct, ids))
    row |= with_ends("usage", share_of(found.escalated, ids))
    changes = {
        name: change(paired(found.correct, case.right(model)))
        for name, model in case.rivals.items()
    }
    return row | _against(case, cascade, changes)


def _fitted(case: Case, plan: FitPlan, question: Question) -> Iterator[Row]:
    """The same of λ that are fitted; where folds decide, they are held against each model too."""
    points = (
        operating_points(case.reported, plan, [case.pair], question, case.right(model))
        for model in case.rivals.values()
    )
    names = (*_FIT, *(f"{name}{end}" for name in ("accuracy", "usage") for end in _ENDS))
    for rows in zip(*points, strict=True):
        changes = {
            name: from_ends("accuracy_change", row)
            for name, row in zip(case.rivals, rows, strict=True)
        }
        told = {name: rows[0][name] for name in ("threshold", *names)}
        yield told | _against(case, cascade_of(rows[0]), changes)


_FIT = tuple(name for name in NO_FIT if name != "baseline")
_ENDS = ("", "_low", "_high")


def _against(case: Case, cascade: Cascade, changes: Mapping[str, Interval]) -> Row:
    """What a cascade costs on the reported images, and what it saves and how much more accurate it
    is than B alone and the best single model."""
    outcome = decide(case.reported, cascade)
    row: Row = {}
    for name, model in case.rivals.items():
        cost = priced(cascade, outcome, case.pricer, model, changes[name])
        row |= {key: cost[key] for key in ("cost", "cost_low", "cost_high")}
        saved = {f"saved{end}": cost[f"saved{end}"] for end in _ENDS}
        told = with_ends("accuracy_change", changes[name])
        row[f"against_{name}"] = {"baseline": model} | saved | told
    return row


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
