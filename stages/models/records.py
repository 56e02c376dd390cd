"""What a cache says of the models that its logits come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cache
from cache import Store, complete

Facts = Mapping[str, Any]
"""A model by the names of its logits' manifest: `architecture`, `preprocessing`, `weights_sha256`,
`trained_on`, `macs`, and their `runtime`; those of imported logits have no architecture."""
Recorded = Callable[[str], Sequence[Facts]]
"""Name → all that is recorded of it, as `recorded` orders it."""


def recorded(store: Store, dataset: str, name: str) -> list[Facts]:
    """The facts of a model of the dataset, one per partition of that name.

    First those with an architecture, of them first those that state what it was trained on.
    """
    found: list[Facts] = [
        {**manifest.provenance, **manifest.identity, **partition.keys}
        for table in (*cache.OUTPUTS, "scores")
        for partition in complete(store, table, dataset)
        if partition.keys["model"] == name and (manifest := cache.load(store, partition))
    ]
    return sorted(found, key=lambda facts: ("architecture" not in facts, not _stated(facts)))


def same_bytes(found: Sequence[Facts], sha256: str) -> Facts | None:
    """The first that is of these very weights."""
    return next((facts for facts in found if facts.get("weights_sha256") == sha256), None)


def _stated(facts: Facts) -> bool:
    return (facts.get("trained_on") or {}).get("source") == "stated"
