"""The row of a ScoreSet that no model has: what a last stage says where no model answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import cache
from cache import Manifest, Partition
from stages.scores.nobody import UNANSWERED, Nobody
from stages.scores.plugin_scores import Columns
from stages.scores.table import ScoreSet


def with_nobody(scores: ScoreSet, last: Nobody | None) -> ScoreSet:
    """The same images with the last stage as their last row; without one where that is None.

    Its requests cost `price` in the prices of `kind`, of other kinds nobody knows what.
    """
    scores = without_nobody(scores)
    if last is None:
        return scores
    n = len(scores.labels)

    def added(values: np.ndarray, row: float) -> np.ndarray:
        return np.concatenate([values, np.full((1, n), row, values.dtype)])

    known = {kind for kind in scores.request_costs if last.kind in (None, kind)}
    return replace(
        scores,
        models=(*scores.models, last.name),
        predictions=added(scores.predictions, UNANSWERED),
        correct=added(scores.correct, False),
        scores=Columns.mapped(scores.scores, lambda values: added(values, np.nan)),
        manifests=(*scores.manifests, _manifest(scores, last)),
        request_costs={
            kind: added(each, last.price if kind in known else np.nan)
            for kind, each in scores.request_costs.items()
        },
        nobody=last,
    )


def without_nobody(scores: ScoreSet) -> ScoreSet:
    """The models' rows alone."""
    if scores.nobody is None:
        return scores
    return replace(
        scores,
        models=scores.models[:-1],
        predictions=scores.predictions[:-1],
        correct=scores.correct[:-1],
        scores=Columns.mapped(scores.scores, lambda values: values[:-1]),
        manifests=scores.manifests[:-1],
        request_costs={kind: each[:-1] for kind, each in scores.request_costs.items()},
        nobody=None,
    )


def _manifest(scores: ScoreSet, last: Nobody) -> Manifest:
    """As if its rows came from the cache, beside those of the first model: of no weights and no
    multiply-adds, trained on nothing."""
    first = scores.manifests[0]
    keys = first.partition.keys | {"model": last.name}
    part = cache.Part(cache.part_name(0), len(scores.labels), 0, cache.digest(vars(last)))
    facts = {"macs": 0, "trained_on": {"splits": [], "source": "stated"}}
    where = Partition.of("scores", **keys)
    return Manifest(where, (part,), {"dataset_fingerprint": first.fingerprint}, facts)
