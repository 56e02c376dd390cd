"""Which datasets and models a cache has, by the names of its manifests alone."""

from __future__ import annotations

from collections.abc import Sequence

from cache.manifest import MANIFESTS, manifest_place
from cache.partition import OUTPUTS, Partition, path_segments
from cache.storage import Store

_MODELS = (*OUTPUTS, "scores")


def complete(store: Store, table: str, *leading: str) -> list[Partition]:
    """The partitions of a table that have a manifest, sorted by path; none is opened.

    `leading`: the values of the first keys, as `cache.find` takes them.
    """
    paths = store.files("/".join([MANIFESTS, table, *path_segments(table, leading)]))
    # What lies at no partition's place `cache verify` tells.
    return [place for place in map(manifest_place, paths) if place is not None]


def datasets(store: Store) -> list[str]:
    """Those that the cache has samples of, sorted."""
    return sorted({partition.keys["dataset"] for partition in complete(store, "samples")})


def splits(store: Store, dataset: str) -> list[str]:
    """Those of a dataset that the cache has samples of, sorted."""
    return [partition.keys["split"] for partition in complete(store, "samples", dataset)]


def datasets_with(store: Store, models: Sequence[str]) -> list[str]:
    """Those on which the cache has logits or scores of all these models, sorted."""
    found = _models(store)
    return sorted(dataset for dataset, there in found.items() if there.issuperset(models))


def models(store: Store, dataset: str) -> list[str]:
    """Those that the cache has logits or scores of on a dataset, sorted."""
    return sorted(_models(store, dataset).get(dataset, ()))


def _models(store: Store, *dataset: str) -> dict[str, set[str]]:
    """By dataset, all or one."""
    found: dict[str, set[str]] = {}
    for table in _MODELS:
        for partition in complete(store, table, *dataset):
            found.setdefault(partition.keys["dataset"], set()).add(partition.keys["model"])
    return found
