"""What is odd about logits that come from elsewhere, or cannot be beside those in the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

import cache
from cache import InputError, Manifest, Partition, Store
from cache.held import complete
from stages.datasets import spec
from stages.intervals import least, most

if TYPE_CHECKING:
    from stages.importing import Request

_ROUNDING = 1e-3  # of a row's sum, in half precision
_ERROR = 0.001  # that a limit of an accuracy is wrong
USUAL = "train"  # the split that nobody imports, and everybody trains on


def same_classes(siblings: Sequence[Manifest], where: str, classes: int) -> None:
    """InputError where the dataset's other logits in the cache have another number of classes."""
    for each in siblings:
        there = each.identity.get("classes", classes)
        if there != classes:
            raise InputError(
                f"{where} has {classes} classes, {each.partition} has {there}: import it under "
                "another --dataset, or remove the other one (`cascade cache rm`)"
            )


def siblings(store: Store, partition: Partition) -> list[Manifest]:
    """The dataset's other logits in the cache, of those that can be read."""
    dataset, found = partition.keys["dataset"], []
    for place in complete(store, "logits", dataset):
        try:
            found.append(None if place == partition else cache.load(store, place))
        except InputError:  # damaged or of another version: what reads its rows tells
            continue
    return [each for each in found if each is not None]


def same_model(manifest: Manifest, partition: Partition) -> bool:
    """Whether it is the same model in the same runtime, on another split."""
    one, other = manifest.partition.keys, partition.keys
    return all(one[key] == other[key] for key in ("model", "runtime"))


def oddities(
    store: Store, request: Request, sha256: str, others: Sequence[Manifest]
) -> Iterator[str]:
    """Warnings about the splits that logits of this digest are said to belong to."""
    for each in others:
        keys = each.partition.keys
        if keys["split"] != request.split and each.identity.get("logits_sha256") == sha256:
            yield (
                f"{request.logits} holds the very same logits as {keys['model']} on split "
                f"{keys['split']}: check --split"
            )
    if request.trained_on_source == "stated":
        yield from _unknown_splits(store, request)


def no_probabilities(logits: np.ndarray, where: str) -> None:
    """InputError where all rows of [N, K] are non-negative and sum to 1."""
    sums = logits.sum(axis=1, dtype=np.float64)
    if (logits >= 0).all() and (np.abs(sums - 1) <= _ROUNDING).all():
        raise InputError(
            f"{where} holds probabilities (none below 0, each row sums to 1), and a softmax would "
            "be taken again: give the logits, or np.log(np.maximum(p, 1e-12)), of the same softmax"
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
    of the way from chance to 1. Also where most answers are one below their labels, or one above.
    """
    n = len(labels)
    found = int((answers == labels).sum())
    shares = [np.bincount(each, minlength=classes) / n for each in (answers, labels)]
    by_chance = float(shares[0] @ shares[1])
    at_chance = least(found, n, _ERROR) <= by_chance
    clear = most(found, n, _ERROR) < by_chance + (1 - by_chance) / 4
    apart = Counter((answers - labels).tolist())
    by = max((-1, 1), key=apart.__getitem__)
    others = max((times for each, times in apart.items() if each != by), default=0)
    shifted = apart[by] > 2 * others and least(apart[by], n, _ERROR) > by_chance
    if (at_chance and clear) or (shifted and apart[by] - found > 5 * sqrt(apart[by] + found)):
        yield (
            f"accuracy is {found / n:.1%} where answers that have nothing to do with the labels "
            f"have {by_chance:.1%}; {_reason(by, apart[by] / n if shifted else None)}"
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


def _unknown_splits(store: Store, request: Request) -> Iterator[str]:
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
