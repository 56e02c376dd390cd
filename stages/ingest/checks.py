"""What is odd about logits that come from elsewhere, or cannot be beside those in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import sqrt

import numpy as np

import cache
from cache import OUTPUTS, InputError, Manifest, Partition, Store, complete
from stages.datasets import spec
from stages.ingest.arrays import Array
from stages.ingest.probabilities import sum_tolerance
from stages.ingest.request import ImportRequest
from stages.statistics import least, most

_ROUNDING = 1e-3  # of a row's sum, in half precision
_FEWEST = 5  # rows in which a column that is the labels, or a constant sum, is no accident
_FIRST = 64  # rows that show whether a column may be such
_NEARLY_ALL, _MANY = 0.95, 0.9  # of answers that are one class; of labels that are
_ERROR = 0.001  # that a limit of an accuracy is wrong
USUAL = "train"  # the split that nobody imports, and everybody trains on


def same_classes(siblings: Sequence[Manifest], where: str, classes: int) -> None:
    """InputError where the dataset's other logits in the cache have another number of classes."""
    for each in siblings:
        there = each.identity.get("classes", classes)
        if there not in (None, classes):
            raise InputError(
                f"{where} has {classes} classes, {each.partition} has {there}: import it under "
                "another --dataset, or remove the other one (`cascade cache rm`)"
            )


def siblings(store: Store, partition: Partition) -> list[Manifest]:
    """The dataset's other models' outputs in the cache, of those that can be read."""
    found, dataset = [], partition.keys["dataset"]
    for place in (each for table in OUTPUTS for each in complete(store, table, dataset)):
        with suppress(InputError):  # damaged or of another version: what reads its rows tells
            found.append(None if place == partition else cache.load(store, place))
    return [each for each in found if each is not None]


def oddities(
    store: Store, request: ImportRequest, sha256: str, others: Sequence[Manifest]
) -> Iterator[str]:
    """Warnings about the splits that logits of this digest are said to belong to."""
    for each in others:
        keys = each.partition.keys
        if keys["split"] != request.split and each.identity.get(request.digest) == sha256:
            yield (
                f"{request.file} holds the very same {request.kind} as {keys['model']} on split "
                f"{keys['split']}: check --split"
            )
    if request.trained_on_source == "stated":
        yield from _unknown_splits(store, request)


def all_classes(values: np.ndarray, array: Array, labels: np.ndarray) -> None:
    """InputError for a column of values [N, K] that is the labels [N], or numbers the rows.

    Whole logits of few rows may be so by accident, and one label is what a constant logit is.
    """
    if len(values) < _FEWEST:
        return
    for k in np.flatnonzero((values[:_FIRST] == np.floor(values[:_FIRST])).all(axis=0)):
        column, name = values[:, k].astype(np.float64), array.columns[k] if array.columns else ""
        found = _is_labels(column, labels, name) or _is_count(column)
        if found:
            raise InputError(f"{array.path}: column {repr(name) if name else k} {found}")


def _is_labels(column: np.ndarray, labels: np.ndarray, name: str) -> str:
    by = column[0] - labels[0]
    if by % 1 or not np.array_equal(column - by, labels) or (labels == labels[0]).all():
        return ""
    plus = f" {'+' if by > 0 else '−'} {abs(by):.0f}" if by else ""
    apart = f", or give --label-column {name!r} in place of --labels" if name and not by else ""
    return f"holds the labels{plus}, not a class's logits: leave it out{apart}"


def _is_count(column: np.ndarray) -> str:
    low, high = column.min(), column.max()
    if high - low != len(column) - 1 or (np.diff(np.sort(column)) != 1).any():
        return ""
    return f"numbers the rows ({low:.0f} to {high:.0f}), no class's logits: leave it out"


def no_probabilities(logits: np.ndarray, where: str) -> None:
    """InputError where all rows of [N, K] are from 0 to 1 and sum to 1, as far as rounding lets."""
    if logits.min() < 0:
        return
    off = float(np.abs(logits.sum(axis=1, dtype=np.float64) - 1).max())
    if off <= _ROUNDING or (logits.max() <= 1 and off <= sum_tolerance(logits)):
        rounded = ", but for rounding" if off > _ROUNDING else ""
        raise InputError(
            f"{where} holds probabilities (none below 0, each row sums to 1{rounded}), and a "
            "softmax would be taken again: give them as --probabilities"
        )


def shares(logits: np.ndarray, where: str) -> Iterator[str]:
    """A warning for logits [N, K] that may be probabilities, per cent or sigmoids."""
    if logits.min() < 0:
        return
    sums = logits.sum(axis=1, dtype=np.float64)
    usual = float(np.median(sums))
    close = _ROUNDING * min(usual, float(np.ptp(logits)))  # of logits + 1000 all sums are similar
    alike = int((np.abs(sums - usual) <= close).sum())
    many = len(sums) >= _FEWEST and alike >= 0.9 * len(sums)
    if logits.max() <= 1:
        found = "only values from 0 to 1"
    elif usual > 0 and many:
        found = f"no value below 0, and {alike} of {len(sums)} rows sum to {usual:.5g}"
    else:
        return
    yield (
        f"{where} holds {found}: are these probabilities, per cent or sigmoids? A softmax is taken "
        "of them as of logits"
    )


def rounding(values: np.ndarray, logits: np.ndarray, where: str) -> Iterator[str]:
    """A warning where float32 changes the largest classes of values [N, K], or how many they are.

    `logits` are the values as float32.
    """
    if np.can_cast(values.dtype, np.float32):
        return
    before = values == values.max(axis=1, keepdims=True)
    after = logits == logits.max(axis=1, keepdims=True)
    changed = int((before != after).any(axis=1).sum())
    if changed:
        yield (
            f"{changed} of {len(logits)} rows of {where} have another largest class, or ties for "
            f"it, as float32 than as {values.dtype}: subtract each row's largest value first, "
            "which leaves the softmax as it is"
        )


def chance(answers: np.ndarray, labels: np.ndarray, classes: int) -> Iterator[str]:
    """A warning where answers [N] agree with labels [N] no more than if paired at random.

    Silent where N is too small to tell: the upper limit of the accuracy has to be below a quarter
    of the way from chance to the most that so many answers of each class can have. Also where most
    answers are one below their labels, or one above; where nearly all are one class, and labels
    are not; and where fewer are right than by any guess.
    """
    n = len(labels)
    found = int((answers == labels).sum())
    shares = [np.bincount(each, minlength=classes) / n for each in (answers, labels)]
    by_chance, attainable = float(shares[0] @ shares[1]), float(np.minimum(*shares).sum())
    at_chance = least(found, n, _ERROR) <= by_chance
    clear = most(found, n, _ERROR) < by_chance + (attainable - by_chance) / 4
    apart = np.bincount(answers - labels + classes, minlength=classes + 2)
    by = max((-1, 1), key=lambda step: apart[classes + step])
    moved = int(apart[classes + by])
    apart[classes + by] = 0
    shifted = moved > 2 * int(apart.max()) and least(moved, n, _ERROR) > by_chance
    if (at_chance and clear) or (shifted and moved - found > 5 * sqrt(moved + found)):
        yield (
            f"accuracy is {found / n:.1%} where answers that have nothing to do with the labels "
            f"have {by_chance:.1%}; {_reason(by, moved / n if shifted else None)}"
        )
    else:
        yield from _one_sided(shares[0], shares[1], found, n)


def from_one(answers: np.ndarray, labels: np.ndarray) -> bool:
    """Whether labels [N] without a 0 agree far better with answers [N] when each is one lower."""
    found, lower = int((answers == labels).sum()), int((answers == labels - 1).sum())
    return labels.min() == 1 and lower - found > 3 * sqrt(lower + found)


def _one_sided(answers: np.ndarray, labels: np.ndarray, found: int, n: int) -> Iterator[str]:
    """A warning where answers, by their shares [K], are of other classes than labels are."""
    commonest, one = float(labels.max()), int(answers.argmax())
    overlap = float(np.minimum(answers, labels).sum())
    one_answer = answers[one] > _NEARLY_ALL and least(answers[one] * n, n, _ERROR) > 1 / 2
    other_labels = most(labels[one] * n, n, _ERROR) < _MANY
    right = most(found, n, _ERROR)
    elsewhere = overlap < 1 / 2 and commonest < _MANY and right < least(commonest * n, n, _ERROR)
    if (one_answer and other_labels) or elsewhere or right < 1 / len(labels):
        yield (
            f"accuracy is {found / n:.1%} where any guess has {1 / len(labels):.1%} and always the "
            f"commonest label {commonest:.1%}; {answers[one]:.1%} of the answers are class {one}, "
            f"as {labels[one]:.1%} of the labels are: are columns in another order, or is one of "
            "them no class?"
        )


def _reason(by: int, accuracy: float | None) -> str:
    """What may be wrong; `accuracy` is that with labels moved by `by`, where it is far better."""
    if accuracy is None:
        return "are the labels counted from 1, or rows or columns in another order?"
    way = "lower" if by < 0 else "higher"
    return (
        f"with each label one {way} it is {accuracy:.1%}: are labels and columns counted from the "
        "same number?"
    )


def _unknown_splits(store: Store, request: ImportRequest) -> Iterator[str]:
    there = {partition.keys["split"] for partition in complete(store, "samples", request.dataset)}
    row = spec(request.dataset)
    published = {*row.splits, *row.aliases} if row else set()
    known = sorted(there | published | {request.split, USUAL})
    for split in request.trained_on:
        if split not in known:
            yield (
                f"--trained-on {split} is no split that the cache or {request.dataset} is known "
                f"to have ({', '.join(known)}): check its name"
            )
