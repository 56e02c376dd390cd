"""What is odd about logits that come from elsewhere, or cannot be beside those in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

import cache
from cache import InputError, Manifest, Partition, Store
from cache.held import complete
from stages.datasets import spec

if TYPE_CHECKING:
    from stages.importing import Request

_ROUNDING = 1e-3  # of a row's sum, in half precision
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
    store: Store, request: Request, logits: np.ndarray, sha256: str, others: Sequence[Manifest]
) -> Iterator[str]:
    """Warnings about logits [N, K] that may be brought in all the same."""
    if looks_like_probabilities(logits):
        yield (
            f"the rows of {request.logits} look like probabilities: scores are computed by a "
            "softmax of them; import their logarithm"
        )
    for each in others:
        keys = each.partition.keys
        if keys["split"] != request.split and each.identity.get("logits_sha256") == sha256:
            yield (
                f"{request.logits} holds the very same logits as {keys['model']} on split "
                f"{keys['split']}: check --split"
            )
    if request.trained_on_source == "stated":
        yield from _unknown_splits(store, request)


def looks_like_probabilities(logits: np.ndarray) -> bool:
    """Whether all rows of [N, K] are non-negative and sum to 1."""
    sums = logits.sum(axis=1, dtype=np.float64)
    return bool((logits >= 0).all() and (np.abs(sums - 1) <= _ROUNDING).all())


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
