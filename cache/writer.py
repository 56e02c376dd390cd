"""Writes a partition part by part: each whole, checked and renamed; the manifest last.

Beside each part stands a receipt under `.tmp/receipts/` with its digest and what it was made from.
A run that was killed leaves parts and receipts, and the next run keeps every part whose receipt
says the same inputs and whose bytes still have the digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cache import manifest as manifests
from cache.errors import InputError
from cache.manifest import Manifest, Part
from cache.partition import Partition
from cache.provenance import differences, digest
from cache.schema import write_options
from cache.store import Store


class PartWriter:
    """Writes single parts of a partition, each with its receipt; publishes no manifest.

    Several processes may each write parts of their own; what one of them opened as a
    `PartitionWriter` with the same arguments then finds their receipts.
    """

    def __init__(
        self,
        store: Store,
        partition: Partition,
        schema: pa.Schema,
        identity: dict[str, Any],
        provenance: dict[str, Any],
        made_with: dict[str, Any] | None = None,
    ) -> None:
        self.store, self.partition, self.schema = store, partition, schema
        self.identity, self.provenance = identity, provenance
        self._made_with = made_with or {}
        self._token = digest([identity, self._made_with, str(schema)])

    def write(self, index: int, table: pa.Table) -> Part:
        """Publish part `index`."""
        data = self._encode(index, table)
        part = Part(part_name(index), table.num_rows, data.size, _sha256(data))
        self.store.write(f"{self.partition.path}/{part.name}", data)
        self._write_receipt(index, part)
        return part

    def _write_receipt(self, index: int, part: Part) -> None:
        receipt = {"token": self._receipt_token(part), **asdict(part)}
        self.store.write(self._receipt(index), json.dumps(receipt).encode())

    def _receipt_token(self, part: Part) -> str:
        return digest([self._token, asdict(part)])

    def _receipt(self, index: int) -> str:
        return f".tmp/receipts/{self.partition.path}/{part_name(index)}.json"

    def _encode(self, index: int, table: pa.Table) -> pa.Buffer:
        """The part as Parquet bytes, one row group, checked before anyone can see it."""
        about = {"identity": self.identity, "provenance": self.provenance, "part": index}
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


class PartitionWriter(PartWriter):
    """Writer of one partition. Parts are numbered from 0 and may be written in any order.

    `identity` must equal that of a complete partition for it to be kept (InputError otherwise,
    unless `overwrite`); `made_with` (batch size, device …, also in `provenance`) must agree too for
    parts of an unfinished or damaged partition to be kept.
    """

    def __init__(
        self,
        store: Store,
        partition: Partition,
        schema: pa.Schema,
        identity: dict[str, Any],
        provenance: dict[str, Any],
        made_with: dict[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__(store, partition, schema, identity, provenance, made_with)
        self.complete = self._existing(overwrite)
        self.done: dict[int, Part] = {} if self.complete else self._resumable()

    def write(self, index: int, table: pa.Table) -> Part:
        """Publish part `index`."""
        self.done[index] = part = super().write(index, table)
        return part

    def reopen(self) -> None:
        """Take a complete partition back for a run that makes some of its parts again."""
        if self.complete:
            self._salvage(self.complete, ())
            self.complete, self.done = None, self._resumable()

    def restate(self, *fields: str) -> None:
        """Publish a complete partition's manifest again where these of its provenance changed."""
        if self.complete is None:
            return
        stated = {field: self.provenance.get(field) for field in fields}
        if any(self.complete.provenance.get(field) != stated[field] for field in fields):
            provenance = self.complete.provenance | stated
            self.complete = replace(self.complete, provenance=provenance)
            manifests.publish(self.store, self.complete)

    def finish(self, count: int) -> Manifest:
        """Clear what an earlier run left over and publish the manifest of parts 0 … count − 1."""
        parts = tuple(self.done[index] for index in range(count))
        manifest = Manifest(self.partition, parts, self.identity, self.provenance)
        kept = {f"{self.partition.path}/{part.name}" for part in parts}
        for path in self.store.files(self.partition.path):
            if path not in kept:
                self.store.delete(path)
        manifests.publish(self.store, manifest)
        for path in self.store.files(f".tmp/receipts/{self.partition.path}"):
            self.store.delete(path)
        self.complete = manifest
        return manifest

    def _existing(self, overwrite: bool) -> Manifest | None:
        found = manifests.load(self.store, self.partition)
        if found is None:
            return None
        differing = differences(found.identity, self.identity)
        damaged = [part for part in found.parts if not _intact(self.store, self.partition, part)]
        if not differing and not damaged:
            return found
        if differing and not overwrite:
            raise InputError(
                f"the cache already holds {self.partition}, made from something else "
                f"({'; '.join(differing)}): give --overwrite, another name or another --cache"
            )
        self._salvage(found if not differing else replace(found, parts=()), damaged)
        return None

    def _salvage(self, found: Manifest, damaged: Sequence[Part]) -> None:
        """Withdraw a partition and keep its sound parts, made in the same way, for this run."""
        if all(found.provenance.get(key) == value for key, value in self._made_with.items()):
            for index, part in enumerate(found.parts):
                if part not in damaged:
                    self._write_receipt(index, part)
        manifests.withdraw(self.store, self.partition)

    def _resumable(self) -> dict[int, Part]:
        done = {}
        for path in self.store.files(f".tmp/receipts/{self.partition.path}"):
            receipt = _json_or_none(self.store.read(path).to_pybytes())
            token = (receipt or {}).pop("token", None)
            if not receipt or receipt.keys() != Part.__dataclass_fields__.keys():
                continue
            part = Part(**receipt)
            if token == self._receipt_token(part) and _intact(self.store, self.partition, part):
                done[int(part.name[5:].partition(".")[0])] = part
        return done


def part_name(index: int) -> str:
    return f"part-{index:05d}.parquet"


def write_partition(
    store: Store,
    partition: Partition,
    table: pa.Table,
    identity: dict[str, Any],
    provenance: dict[str, Any],
    overwrite: bool = True,
) -> Manifest:
    """A partition of one part, from a table that fits in memory; kept if it is there already."""
    writer = PartitionWriter(
        store, partition, table.schema, identity, provenance, overwrite=overwrite
    )
    if writer.complete:
        return writer.complete
    writer.write(0, table)
    return writer.finish(1)


def intact(store: Store, manifest: Manifest) -> bool:
    """Whether every part has the bytes that were written."""
    return all(_intact(store, manifest.partition, part) for part in manifest.parts)


def _intact(store: Store, partition: Partition, part: Part) -> bool:
    path = f"{partition.path}/{part.name}"
    if not store.exists(path):
        return False
    data = store.read(path)
    return data.size == part.size_bytes and _sha256(data) == part.sha256


def _sha256(data: pa.Buffer) -> str:
    return hashlib.sha256(data).hexdigest()


def _json_or_none(data: bytes) -> dict[str, Any] | None:
    """A receipt that does not parse is a receipt that was never finished."""
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
