"""What the cache has, by keys of its partitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cache import Manifest, Store, find


def manifests_by(
    store: Store, table: str, keys: tuple[str, ...]
) -> dict[tuple[Any, ...], list[Manifest]]:
    """What is in the cache, by these keys of a table's partitions."""
    there: dict[tuple[Any, ...], list[Manifest]] = {}
    for manifest in find(store, table):
        found = tuple(manifest.partition.keys[key] for key in keys)
        there.setdefault(found, []).append(manifest)
    return there


def cached_splits(manifests: Sequence[Manifest]) -> list[str]:
    """The splits that partitions are of, each once."""
    return list(dict.fromkeys(manifest.partition.keys["split"] for manifest in manifests))
