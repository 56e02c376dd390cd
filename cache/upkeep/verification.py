"""Reads every part of a cache again and holds it against what its manifest says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache import (
    OUTPUTS,
    BadPartError,
    Manifest,
    Part,
    Partition,
    fingerprint_of,
    fits,
    labels_in,
    load,
    manifest_path,
    part_bytes,
    part_index,
    part_intact,
    some_unlabelled,
    unlabelled,
)
from cache.storage import InputError, Store
from cache.upkeep.overview import Selection, Survey, survey

# Tables whose rows are about the samples of their split.
_OF_SAMPLES = (*OUTPUTS, "timings", "scores", "extra_scores", "top10", "request_costs", "hashes")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Damage:
    """A file that is not what it should be, or a folder whose files do not fit together.

    `said`: identity and provenance of its manifest, empty where that is not there or damaged.
    """

    path: str
    partition: Partition
    what: str
    said: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VerifyReport:
    """What was read, and what of it is damaged; `survey` has the rest."""

    survey: Survey
    damage: list[Damage]
    parts: int
    rows: int
    size_bytes: int


def verify(
    store: Store, selection: Selection | None = None, progress: Progress = lambda done, total: None
) -> VerifyReport:
    """Every part: there, its size, SHA-256, rows, columns and identity; then what they say.

    Ids are those of the split's samples, each once; the fingerprint is recomputed from ids, labels
    and keys; batches of timings join without gaps; scores are those of the logits that are there.
    `progress` counts bytes.
    """
    seen = survey(store, selection)
    return VerifyReport(
        seen,
        list(_Verifier(store, seen, progress).damage()),
        parts=sum(len(manifest.parts) for manifest in seen.complete),
        rows=sum(manifest.rows for manifest in seen.complete),
        size_bytes=sum(manifest.size_bytes for manifest in seen.complete),
    )


@dataclass(frozen=True)
class _Samples:
    ids: np.ndarray
    labels: np.ndarray
    fingerprint: str | None


_NONE = np.empty(0, np.int64)
_DAMAGED = _Samples(_NONE, _NONE, None)


class _Verifier:
    """Reads a cache once; the samples of each split, too."""

    def __init__(self, store: Store, seen: Survey, progress: Progress) -> None:
        self._store, self._seen, self._progress = store, seen, progress
        self._total, self._done = sum(manifest.size_bytes for manifest in seen.complete), 0
        self._known: dict[tuple[str, str], _Samples | None] = {}

    def damage(self) -> Iterator[Damage]:
        for manifest in self._seen.complete:
            said = manifest.identity | manifest.provenance
            for path, what in self._partition(manifest):
                yield Damage(path, manifest.partition, what, said)
        for partition, what in self._seen.damaged:
            yield Damage(manifest_path(partition), partition, what)
        yield from self._unfinished()

    def _unfinished(self) -> Iterator[Damage]:
        """Parts that the next run would not go on from, though they or their receipts are there."""
        for each in self._seen.unfinished:
            for receipt in each.receipts:
                if not part_intact(self._store, each.partition, receipt.part):
                    path = f"{each.partition.path}/{receipt.part.name}"
                    yield Damage(path, each.partition, "is not what its receipt says")
        complete = {manifest.partition for manifest in self._seen.complete}
        for partition, entry in self._seen.idle_receipts:
            if partition not in complete:
                yield Damage(entry.path, partition, "is no receipt as it was written")

    def _partition(self, manifest: Manifest) -> Iterator[tuple[str, str]]:
        """(path, what is wrong with it) of a partition's parts, or of all of them together."""
        tables = []
        for part in manifest.parts:
            try:
                tables.append(_part(self._store, manifest, part))
            except BadPartError as bad:
                yield f"{manifest.partition.path}/{part.name}", str(bad)
            self._done += part.size_bytes
            self._progress(self._done, self._total)
        if tables and len(tables) == len(manifest.parts):
            for what in self._content(manifest, pa.concat_tables(tables)):
                yield manifest.partition.path, what

    def _content(self, manifest: Manifest, rows: pa.Table) -> Iterator[str]:
        """What is wrong with the rows of a partition whose files are sound."""
        table, keys = manifest.partition.table, manifest.partition.keys
        if table == "samples":
            yield from _samples_content(manifest, rows)
        if table not in _OF_SAMPLES:
            return
        split = keys["dataset"], keys["split"]
        if split not in self._known:
            self._known[split] = _samples(self._store, *split)
        known = self._known[split]
        if known is None and table == "hashes":
            # Pictures may be hashed before anything else is known of them.
            known = _Samples(np.arange(manifest.rows), _NONE, manifest.fingerprint)
        if known is None:
            yield f"has no samples of {'/'.join(split)} beside it"
        if known is None or known is _DAMAGED:
            return
        if known.fingerprint != manifest.fingerprint:
            yield "was made from other images than the samples beside it"
        elif table == "timings":
            yield from _batches(rows, len(known.ids))
        else:
            yield from _ids(rows, known)
        if table in ("scores", "extra_scores"):
            yield from _scores(self._store, manifest)


def _part(store: Store, manifest: Manifest, part: Part) -> pa.Table:
    """The columns of one part that its neighbours are held against; raises BadPartError."""
    try:
        data = part_bytes(store, manifest.partition, part)
    except InputError as error:
        raise BadPartError(f"cannot be read ({error})") from error
    try:
        table = pq.read_table(pa.BufferReader(data), partitioning=None)
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise BadPartError(f"is no Parquet file ({type(error).__name__})") from error
    _check_about(manifest, part, table)
    large = (*OUTPUTS, "classes", "hash")
    return table.select([name for name in table.column_names if name not in large])


def _check_about(manifest: Manifest, part: Part, table: pa.Table) -> None:
    if table.num_rows != part.rows:
        raise BadPartError(f"has {table.num_rows} rows instead of {part.rows}")
    metadata = table.schema.metadata or {}
    if not fits(manifest.partition.table, table.schema.remove_metadata(), manifest.schema_version):
        raise BadPartError(f"does not have the columns of {manifest.partition.table}")
    if some_unlabelled(table):
        raise BadPartError("has labels of some of its images only")
    try:
        about = json.loads(metadata.get(b"cascade", b""))
        found = about["identity"], about["part"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadPartError("does not say what it was made from") from error
    if found != (manifest.identity, part_index(part.name)):
        raise BadPartError("was made from something else than its manifest says")


def _samples(store: Store, dataset: str, split: str) -> _Samples | None:
    """Of a split; None where they are not there, _DAMAGED where that is told elsewhere."""
    partition = Partition.of("samples", dataset=dataset, split=split)
    try:
        manifest = load(store, partition)
        if manifest is None:
            return None
        table = pa.concat_tables([_part(store, manifest, part) for part in manifest.parts])
    except (InputError, BadPartError):
        return _DAMAGED
    return _Samples(_column(table, "sample_id"), labels_in(table), manifest.fingerprint)


def _samples_content(manifest: Manifest, table: pa.Table) -> Iterator[str]:
    if not np.array_equal(_column(table, "sample_id"), np.arange(table.num_rows)):
        yield "does not number its samples from 0"
    if manifest.labelled == unlabelled(labels_in(table)):
        yield "has labels where its manifest says that it has none, or none where it has some"
    keys = table.column("key").to_pylist()
    if fingerprint_of(labels_in(table), keys) != manifest.fingerprint:
        yield "has other ids, labels or keys than its fingerprint says"


def _ids(table: pa.Table, known: _Samples) -> Iterator[str]:
    ids = _column(table, "sample_id")
    order = np.argsort(ids, kind="stable")
    if len(np.unique(ids)) != len(ids):
        yield "has a sample twice"
    elif not np.array_equal(ids[order], known.ids):
        yield f"has {len(ids)} samples that are not the {len(known.ids)} of its split"
    elif "label" in table.column_names and not np.array_equal(
        labels_in(table)[order], known.labels
    ):
        yield "has other labels than the samples beside it"


def _batches(table: pa.Table, images: int) -> Iterator[str]:
    first, size = _column(table, "first_sample_id"), _column(table, "batch_size")
    order = np.argsort(first, kind="stable")
    ends = np.cumsum(size[order])
    if not np.array_equal(first[order], ends - size[order]) or ends[-1:].sum() != images:
        yield f"has batches that do not cover the {images} images once"


def _scores(store: Store, manifest: Manifest) -> Iterator[str]:
    """Scores whose logits are not there have nothing to be held against."""
    for place in manifest.partition.outputs:
        with suppress(InputError):
            made_of = load(store, place)
            if made_of is not None and made_of.content != manifest.identity.get("logits"):
                yield f"was made from other {place.table} than those beside it"


def _column(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy()
