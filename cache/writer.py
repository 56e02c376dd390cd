"""Writes a partition part by part: each whole, checked and renamed; the manifest last.

Beside each part stands a receipt (cache/receipts.py) with its digest and what it was made from. A
run that was killed leaves parts and receipts, and the next run keeps every part whose receipt says
the same inputs and whose bytes still have the digest. Receipts are also how several processes that
write parts of one partition know of each other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from cache import manifest as manifests, receipts
from cache.locks import lock
from cache.manifest import DamagedManifestError, Manifest, Part, part_index
from cache.partition import Partition
from cache.parts import PartWriter, intact, part_intact
from cache.provenance import differences
from cache.storage import InputError, Store


class MissingPartsError(InputError):
    """A partition cannot be published yet; `parts` are the numbers it lacks."""

    def __init__(self, partition: Partition, parts: Sequence[int], count: int) -> None:
        named = ", ".join(map(str, parts[:8])) + (", …" if len(parts) > 8 else "")
        super().__init__(
            f"{partition} lacks {len(parts)} of {count} parts ({named}): run the same command "
            "again, or that of the shard that makes them"
        )
        self.parts = tuple(parts)


@dataclass(eq=False)
class PartitionWriter(PartWriter):
    """Writer of one partition. Parts are numbered from 0 and may be written in any order.

    Several processes may write one partition, each its own parts, where one lock on the partition
    covers them all (cache.locks): `refresh` and `missing` tell what the others have written, and
    each may `finish`.

    `identity` must equal that of a complete partition for it to be kept (InputError otherwise,
    unless `overwrite`); `made_with` (batch size, device …, also in `provenance`) must agree too for
    parts of an unfinished or damaged partition to be kept.
    """

    overwrite: bool = False
    complete: Manifest | None = field(init=False)
    done: dict[int, Part] = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.complete = self._existing()
        self.done = {} if self.complete else self._resumable({})

    @classmethod
    def of(cls, parts: PartWriter, overwrite: bool = False) -> PartitionWriter:
        """Of the partition that these parts belong to."""
        made_from = (parts.identity, parts.provenance, parts.made_with)
        return cls(parts.store, parts.partition, parts.schema, *made_from, overwrite)

    def reopen(self) -> None:
        """Take a complete partition back for a run that makes some of its parts again."""
        if self.complete:
            self._salvage(self.complete, ())
            self.complete, self.done = None, self._resumable({})

    def restate(self, *fields: str) -> None:
        """Of a complete partition these of its provenance, as `restate`."""
        if self.complete is not None:
            stated = {field: self.provenance.get(field) for field in fields}
            self.complete = restate(self.store, self.complete, **stated)

    def refresh(self) -> None:
        """Read again from the cache which parts are done, or that another has finished it all."""
        self.done = self._resumable(self.done)
        # After the receipts, which go once a manifest stands.
        if found := sound(self.store, self.partition, self.identity):
            self.complete, self.done = found, {}

    def missing(self, count: int) -> list[int]:
        """The numbers among 0 … count − 1 of parts that are not done; none of a complete one."""
        return [] if self.complete else [part for part in range(count) if part not in self.done]

    def write(self, index: int, table: pa.Table) -> Part:
        """Publish part `index`."""
        self.done[index] = part = super().write(index, table)
        return part

    def finish(self, count: int) -> Manifest:
        """Clear what an earlier run left over and publish the manifest of parts 0 … count − 1.

        MissingPartsError where one is not there or not whole. Two processes that finish at the
        same moment publish the same parts.
        """
        there = self._there()
        if self.missing(count):
            self.refresh()
            there = self._there()
        if self.complete:
            return self.complete
        if self.missing(count):
            raise MissingPartsError(self.partition, self.missing(count), count)
        parts = tuple(self.done[index] for index in range(count))
        for path in there - {f"{self.partition.path}/{part.name}" for part in parts}:
            self.store.delete(path)
        self.complete = Manifest(self.partition, parts, self.identity, self.provenance)
        manifests.publish(self.store, self.complete)
        for path in self.store.files(receipts.receipts_folder(self.partition)):
            self.store.delete(path)
        return self.complete

    def _there(self) -> set[str]:
        """The files of the partition; parts that no longer have their size are done no more.

        Their bytes were held against the digest when they were taken for done.
        """
        sizes = {entry.path: entry.size_bytes for entry in self.store.entries(self.partition.path)}
        for index, part in list(self.done.items()):
            if sizes.get(f"{self.partition.path}/{part.name}") != part.size_bytes:
                del self.done[index]
        return set(sizes)

    def _existing(self) -> Manifest | None:
        found = sound(self.store, self.partition, self.identity)
        if found is not None or not manifests.exists(self.store, self.partition):
            return found
        # Whoever comes second must not withdraw what the first has mended meanwhile.
        with lock(self.store, f"{self.partition.path}/mending"):
            again = _undamaged(self.store, self.partition)
            return None if again is None else self._kept_or_withdrawn(again)

    def _kept_or_withdrawn(self, found: Manifest) -> Manifest | None:
        differing = differences(found.identity, self.identity)
        place, parts = self.partition, found.parts
        damaged = [part for part in parts if not part_intact(self.store, place, part)]
        if not differing and not damaged:
            return found
        if differing and not self.overwrite:
            raise InputError(
                f"the cache already holds {self.partition}, made from something else "
                f"({'; '.join(differing)}): give --overwrite, another name or another --cache"
            )
        self._salvage(found if not differing else replace(found, parts=()), damaged)
        return None

    def _salvage(self, found: Manifest, damaged: Sequence[Part]) -> None:
        """Withdraw a partition and keep its sound parts, made in the same way, for this run."""
        if all(found.provenance.get(key) == value for key, value in self.made_with.items()):
            for part in found.parts:
                if part not in damaged:
                    self._write_receipt(part)
        manifests.withdraw(self.store, self.partition)

    def _resumable(self, known: dict[int, Part]) -> dict[int, Part]:
        """Parts with a receipt of the same making and their very bytes; `known` ones had them."""
        done = {}
        for receipt in receipts.read_receipts(self.store, self.partition):
            part, index = receipt.part, part_index(receipt.part.name)
            if receipt.made != self.made:
                continue
            if known.get(index) == part or part_intact(self.store, self.partition, part):
                done[index] = part
        return done


def write_partition(
    store: Store,
    partition: Partition,
    table: pa.Table,
    identity: dict[str, Any],
    provenance: dict[str, Any],
    overwrite: bool = True,
    anew: bool = False,
) -> Manifest:
    """A partition of one part, from a table that fits in memory; kept if one of this identity is
    there already, unless it is to be made `anew`.

    Of several processes that write it one does and the others wait.
    """
    found = None if anew else sound(store, partition, identity)
    if found is not None:  # nothing to write, so a cache that only lets itself be read will do
        return found
    with lock(store, partition.guard):
        writer = PartitionWriter(
            store, partition, table.schema, identity, provenance, overwrite=overwrite
        )
        if anew:
            writer.reopen()
        if writer.complete:
            return writer.complete
        writer.write(0, table)
        return writer.finish(1)


def restate(store: Store, manifest: Manifest, **stated: Any) -> Manifest:
    """Publish a manifest again where these of its provenance changed; for who holds the lock."""
    if all(manifest.provenance.get(field) == value for field, value in stated.items()):
        return manifest
    changed = replace(manifest, provenance=manifest.provenance | stated)
    manifests.publish(store, changed)
    return changed


def sound(
    store: Store, partition: Partition, identity: dict[str, Any] | None = None
) -> Manifest | None:
    """The complete partition, of this identity; None where it is not there or damaged."""
    found = _undamaged(store, partition)
    if found is None or identity not in (None, found.identity) or not intact(store, found):
        return None
    return found


def _undamaged(store: Store, partition: Partition) -> Manifest | None:
    """A damaged manifest tells a writer nothing: the partition is made again, all of it."""
    try:
        return manifests.load(store, partition)
    except DamagedManifestError:
        return None
