"""What a cache says of the models that its logits come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cache
from cache import Store
from cache.held import complete

Facts = Mapping[str, Any]
"""A model by the names of its logits' manifest: `architecture`, `preprocessing`, `weights_sha256`,
`trained_on`, `macs`, and their `runtime`; those of imported logits have no architecture."""


def recorded(store: Store, dataset: str, name: str) -> Facts | None:
    """The facts of a model of the dataset, None where the cache has nothing of that name."""
    facts = None
    for table in ("logits", "scores"):
        for partition in complete(store, table, dataset):
            if partition.keys["model"] == name and (manifest := cache.load(store, partition)):
                facts = {**manifest.provenance, **manifest.identity, **partition.keys}
                if "architecture" in facts:
                    return facts
    return facts
