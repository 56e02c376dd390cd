"""Single parts of a partition: written whole, with a receipt, and held against their digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache import receipts
from cache.manifest import Manifest, Part, part_name
from cache.partition import Partition
from cache.provenance import digest
from cache.receipts import Receipt
from cache.schema import write_options
from cache.storage import Store


class BadPartError(Exception):
    """What is wrong with one part, in words that follow its name."""


@dataclass(eq=False)
class PartWriter:
    """Writes single parts of a partition, each with its receipt; publishes no manifest.

    Several processes may each write parts of their own; what one of them opened as a
    `PartitionWriter` with the same arguments then finds their receipts. `made` is a digest of what
    parts must have in common to stand in one partition.
    """

    store: Store
    partition: Partition
    schema: pa.Schema
    identity: dict[str, Any]
    provenance: dict[str, Any]
    made_with: dict[str, Any] = field(default_factory=dict)
    made: str = field(init=False)

    def __post_init__(self) -> None:
        self.made = digest([self.identity, self.made_with, str(self.schema)])

    def write(self, index: int, table: pa.Table) -> Part:
        """Publish part `index`."""
        data = self._encode(index, table)
        part = Part(part_name(index), table.num_rows, data.size, _sha256(data))
        self.store.write(f"{self.partition.path}/{part.name}", data)
        self._write_receipt(part)
        return part

    def _write_receipt(self, part: Part) -> None:
        receipts.write_receipt(self.store, self.partition, Receipt(part, self.made))

    def _encode(self, index: int, table: pa.Table) -> pa.Buffer:
        """The part as Parquet bytes, one row group, checked before anyone can see it."""
        about = {
            "identity": self.identity,
            "provenance": self.provenance,
            "made_with": self.made_with,
            "part": index,
        }
        metadata = {"cascade": json.dumps(about, ensure_ascii=False)}
        table = table.cast(self.schema).replace_schema_metadata(metadata)
        sink = pa.BufferOutputStream()
        rows = max(table.num_rows, 1)
        pq.write_table(table, sink, row_group_size=rows, **write_options(self.schema))
        data = sink.getvalue()
        written = pq.read_metadata(pa.BufferReader(data)).num_rows
        if written != table.num_rows:
            raise RuntimeError(f"part {index} holds {written} rows instead of {table.num_rows}")
        return data


def discard_parts(store: Store, partition: Partition) -> None:
    """Remove the parts of a partition that has no manifest; for who holds the lock."""
    for folder in (receipts.receipts_folder(partition), partition.path):
        for path in store.files(folder):
            store.delete(path)
        store.prune(folder)


def intact(store: Store, manifest: Manifest) -> bool:
    """Whether every part has the bytes that were written."""
    return all(part_intact(store, manifest.partition, part) for part in manifest.parts)


def part_intact(store: Store, partition: Partition, part: Part) -> bool:
    """Whether one part has."""
    try:
        part_bytes(store, partition, part)
    except BadPartError:
        return False
    return True


def part_bytes(store: Store, partition: Partition, part: Part) -> pa.Buffer:
    """The very bytes that were written; BadPartError where they are not there."""
    try:
        data = store.read(f"{partition.path}/{part.name}")
    except FileNotFoundError:
        raise BadPartError("is missing") from None
    if data.size != part.size_bytes:
        raise BadPartError(f"has {data.size} bytes instead of {part.size_bytes}")
    if _sha256(data) != part.sha256:
        raise BadPartError("does not have its recorded SHA-256")
    return data


def _sha256(data: pa.Buffer) -> str:
    return hashlib.sha256(data).hexdigest()
