"""The row of a ScoreSet that no model has: what a last stage says where no model answers."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import lcm

import numpy as np

import cache
from cache import InputError, Manifest, Partition
from stages.scores.credit import credit_type
from stages.scores.losses import Loss
from stages.scores.nobody import UNANSWERED, Nobody
from stages.scores.plugin_scores import Columns
from stages.scores.table import ScoreSet

_AN_ERROR = "an error costs 1"  # what the loss is called that nobody gave
_LARGEST = 2**31 - 1


def with_nobody(scores: ScoreSet, last: Nobody | None) -> ScoreSet:
    """The same images with the last stage as their last row; without one where that is None.

    Its requests cost `price` in the prices of `kind`, of other kinds nobody knows what. What it
    earns is as `_losses` has it, and scaled so that all are integers: where there is no loss, an
    error costs 1.
    """
    scores = without_nobody(scores)
    if last is None:
        return scores
    n = len(scores.labels)

    def added(values: np.ndarray, row: float) -> np.ndarray:
        return np.concatenate([values, np.full((1, n), row, values.dtype)])

    known = {kind for kind in scores.request_costs if last.kind in (None, kind)}
    loss, earned = _earned(scores, last)
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
        earned=earned,
        loss=loss,
        nobody=last,
    )


def loss_given(scores: ScoreSet) -> Loss | None:
    """That of the answers, None where an error costs 1 because nothing else was said."""
    return None if scores.loss is None or scores.loss.name == _AN_ERROR else scores.loss


def without_nobody(scores: ScoreSet) -> ScoreSet:
    """The models' rows alone."""
    if scores.nobody is None:
        return scores
    implied = loss_given(scores) is None
    return replace(
        scores,
        models=scores.models[:-1],
        predictions=scores.predictions[:-1],
        correct=scores.correct[:-1],
        scores=Columns.mapped(scores.scores, lambda values: values[:-1]),
        manifests=scores.manifests[:-1],
        request_costs={kind: each[:-1] for kind, each in scores.request_costs.items()},
        earned=None if implied or scores.earned is None else scores.earned[:-1],
        loss=None if implied else scores.loss,
        nobody=None,
    )


def _earned(scores: ScoreSet, last: Nobody) -> tuple[Loss, np.ndarray]:
    """The loss, in units so small that what the last stage costs is a whole number of them, too,
    and the credits int [M + 1, N] in these units."""
    told = scores.loss
    if told is None:
        classes = 1 + int(max(scores.labels.max(initial=0), scores.predictions.max(initial=0)))
        told = Loss(_AN_ERROR, matrix=1 - np.eye(classes, dtype=np.int64))
    each = _losses(told, last)
    finer = lcm(*(value.denominator for value in each))
    costs = [int(value * finer) for value in each]
    most = max(*costs, told.most * finer)
    if most > _LARGEST:
        raise InputError(
            f"what {last.name} costs has too many digits to be summed exactly beside {told.name}: "
            "round it"
        )
    matrix = None if told.matrix is None else told.matrix * finer
    # Of a matrix the largest loss is known.
    other = most if matrix is None else max(costs)
    loss = replace(told, scale=told.scale * finer, matrix=matrix, other=other)
    row = np.array(costs)
    own = row[scores.labels] if len(costs) > 1 else np.broadcast_to(row, scores.labels.shape)
    before = scores.credit.astype(np.int64) - (scores.loss is None)
    earned = np.concatenate([before * finer, -own[None]])
    return loss, earned.astype(credit_type(loss, len(scores.labels)))


def _losses(told: Loss, last: Nobody) -> list[Fraction]:
    """What an image that is sent there costs, in units of 1/scale: of each class [K], or [1] of all
    alike.

    An abstention costs the same whatever it is of. A person errs with probability 1 − accuracy, and
    an error on an image of a class costs the mean of what the other answers to that class do.
    """
    if last.accuracy is None:
        return [last.expected_loss * told.scale]
    if told.matrix is None or told.is_zero_one:
        return [last.expected_loss * told.most]
    right, others = told.matrix.diagonal().tolist(), len(told.matrix) - 1
    rows = zip(told.matrix.sum(axis=1).tolist(), right, strict=True)
    wrong = [Fraction(whole - own, max(others, 1)) for whole, own in rows]
    err = last.expected_loss
    return [err * bad + (1 - err) * own for bad, own in zip(wrong, right, strict=True)]


def _manifest(scores: ScoreSet, last: Nobody) -> Manifest:
    """As if its rows came from the cache, beside those of the first model: of no weights and no
    multiply-adds, trained on nothing."""
    first = scores.manifests[0]
    keys = first.partition.keys | {"model": last.name}
    part = cache.Part(cache.part_name(0), len(scores.labels), 0, cache.digest(vars(last)))
    facts = {"macs": 0, "trained_on": {"splits": [], "source": "stated"}}
    where = Partition.of("scores", **keys)
    return Manifest(where, (part,), {"dataset_fingerprint": first.fingerprint}, facts)
