"""What the parts of an unfinished partition say of themselves: it has no manifest to ask."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache import manifest as manifests, receipts
from cache.manifest import Part
from cache.partition import Partition
from cache.parts import BadPartError, part_bytes
from cache.receipts import Receipt
from cache.storage import Store


@dataclass(frozen=True)
class About:
    """What a part was made from, its columns, and the parts known to be made alike."""

    identity: dict[str, Any]
    provenance: dict[str, Any]
    made_with: dict[str, Any]
    schema: pa.Schema
    receipts: tuple[Receipt, ...]

    @property
    def made(self) -> str:
        return self.receipts[0].made

    def count(self, store: Store, partition: Partition) -> int | None:
        """How many parts there are to be: of so many rows each, of the split's samples."""
        keys, rows = partition.keys, self.made_with.get("part_rows")
        if "split" not in keys or not isinstance(rows, int) or rows < 1:
            return None
        samples = Partition.of("samples", dataset=keys["dataset"], split=keys["split"])
        known = manifests.load(store, samples)
        return None if known is None else -(-known.rows // rows)


def about_parts(
    store: Store, partition: Partition, known: Sequence[Receipt] | None = None
) -> About | None:
    """Of the parts that were made alike, the largest such set; None where none is whole."""
    found = receipts.read_receipts(store, partition) if known is None else known
    for made, _ in Counter(receipt.made for receipt in found).most_common():
        alike = tuple(receipt for receipt in found if receipt.made == made)
        for receipt in alike:
            if about := _said(store, partition, receipt.part, alike):
                return about
    return None


def known_identity(store: Store, partition: Partition) -> dict[str, Any] | None:
    """Of what is there of a partition, complete or not."""
    manifest = manifests.load(store, partition)
    if manifest is not None:
        return manifest.identity
    about = about_parts(store, partition)
    return about.identity if about else None


def _said(
    store: Store, partition: Partition, part: Part, alike: tuple[Receipt, ...]
) -> About | None:
    """What one of these parts says of them all; None of a part that is not whole."""
    try:
        data = part_bytes(store, partition, part)
        schema = pq.read_schema(pa.BufferReader(data))
        about = json.loads((schema.metadata or {})[b"cascade"])
        said = {key: dict(about[key]) for key in ("identity", "provenance", "made_with")}
        return About(**said, schema=schema.remove_metadata(), receipts=alike)
    except (BadPartError, ValueError, KeyError, TypeError):
        return None
