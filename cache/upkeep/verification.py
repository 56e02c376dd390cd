"""Reads every part of a cache again and holds it against what its manifest says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache import (
    Manifest,
    Part,
    Partition,
    fingerprint_of,
    fits,
    load,
    manifest_path,
    part_index,
    part_intact,
    sha256,
)
from cache.storage import InputError, Store
from cache.upkeep.overview import Selection, Survey, survey

# Tables with one row per image of their split.
PER_IMAGE = ("samples", "logits", "scores", "extra_scores", "top10", "hashes")

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


@dataclass
class VerifyReport:
    """What was read, and what of it is damaged; `survey` has the rest."""

    survey: Survey
    parts: int = 0
    rows: int = 0
    size_bytes: int = 0
    damage: list[Damage] = field(default_factory=list)


class _BadPartError(Exception):
    """What is wrong with one part."""


def verify(
    store: Store, selection: Selection | None = None, progress: Progress = lambda done, total: None
) -> VerifyReport:
    """Every part: there, its size, SHA-256, rows, columns and identity; then what they say.

    Ids are those of the split's samples, each once; the fingerprint is recomputed from ids, labels
    and keys; batches of timings join without gaps; scores are those of the logits that are there.
    `progress` counts bytes.
    """
    report = VerifyReport(survey(store, selection))
    total = sum(part.size_bytes for m in report.survey.complete for part in m.parts)
    samples: dict[tuple[str, ...], _Samples | None] = {}
    for manifest in report.survey.complete:
        for path, what in _partition(store, manifest, samples, report, progress, total):
            said = manifest.identity | manifest.provenance
            report.damage.append(Damage(path, manifest.partition, what, said))
        report.rows += manifest.rows
    for partition, what in report.survey.damaged:
        report.damage.append(Damage(manifest_path(partition), partition, what))
    report.damage += _unfinished(store, report.survey)
    return report


def _unfinished(store: Store, seen: Survey) -> Iterator[Damage]:
    """Parts that the next run would not go on from, though they or their receipts are there."""
    for each in seen.unfinished:
        for receipt in each.receipts:
            if not part_intact(store, each.partition, receipt.part):
                path = f"{each.partition.path}/{receipt.part.name}"
                yield Damage(path, each.partition, "is not what its receipt says")
    complete = {manifest.partition for manifest in seen.complete}
    for partition, entry in seen.idle_receipts:
        if partition not in complete:
            yield Damage(entry.path, partition, "is no receipt as it was written")


def _partition(
    store: Store,
    manifest: Manifest,
    samples: dict[tuple[str, ...], _Samples | None],
    report: VerifyReport,
    progress: Progress,
    total: int,
) -> Iterator[tuple[str, str]]:
    """(path, what is wrong with it) of a partition's parts, or of all of them together."""
    tables = []
    for part in manifest.parts:
        path = f"{manifest.partition.path}/{part.name}"
        try:
            tables.append(_part(store, manifest, part, path))
        except _BadPartError as bad:
            yield path, str(bad)
        report.parts += 1
        report.size_bytes += part.size_bytes
        progress(report.size_bytes, total)
    if len(tables) == len(manifest.parts):
        for what in _content(store, manifest, tables, samples):
            yield manifest.partition.path, what


def _part(store: Store, manifest: Manifest, part: Part, path: str) -> pa.Table:
    """The columns of one part that its neighbours are held against; raises _BadPartError."""
    try:
        data = store.read(path)
    except FileNotFoundError:
        raise _BadPartError("is missing") from None
    except InputError as error:
        raise _BadPartError(f"cannot be read ({error})") from error
    if data.size != part.size_bytes:
        raise _BadPartError(f"has {data.size} bytes instead of {part.size_bytes}")
    if sha256(data) != part.sha256:
        raise _BadPartError("does not have its recorded SHA-256")
    try:
        table = pq.read_table(pa.BufferReader(data), partitioning=None)
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise _BadPartError(f"is no Parquet file ({type(error).__name__})") from error
    _check_about(manifest, part, table)
    return table.select([name for name in table.column_names if name not in ("logits", "hash")])


def _check_about(manifest: Manifest, part: Part, table: pa.Table) -> None:
    if table.num_rows != part.rows:
        raise _BadPartError(f"has {table.num_rows} rows instead of {part.rows}")
    metadata = table.schema.metadata or {}
    if not fits(manifest.partition.table, table.schema.remove_metadata(), manifest.schema_version):
        raise _BadPartError(f"does not have the columns of {manifest.partition.table}")
    try:
        about = json.loads(metadata.get(b"cascade", b""))
        found = about["identity"], about["part"]
    except (ValueError, KeyError, TypeError) as error:
        raise _BadPartError("does not say what it was made from") from error
    if found != (manifest.identity, part_index(part.name)):
        raise _BadPartError("was made from something else than its manifest says")


@dataclass(frozen=True)
class _Samples:
    ids: np.ndarray
    labels: np.ndarray
    fingerprint: str | None


_NONE = np.empty(0, np.int64)
_DAMAGED = _Samples(_NONE, _NONE, None)


def _content(
    store: Store,
    manifest: Manifest,
    tables: list[pa.Table],
    samples: dict[tuple[str, ...], _Samples | None],
) -> Iterator[str]:
    """What is wrong with the rows of a partition whose files are sound."""
    partition, table = manifest.partition, pa.concat_tables(tables) if tables else None
    if table is None or partition.table not in (*PER_IMAGE, "timings"):
        return
    keys = partition.keys["dataset"], partition.keys["split"]
    if partition.table == "samples":
        yield from _samples_content(manifest, table)
        return
    if keys not in samples:
        samples[keys] = _samples(store, *keys)
    known = samples[keys]
    if known is _DAMAGED:
        return
    if known is None and partition.table != "hashes":
        yield f"has no samples of {'/'.join(keys)} beside it"
        return
    if known is None:  # pictures may be hashed before anything else is known of them
        known = _Samples(np.arange(manifest.rows), _NONE, manifest.fingerprint)
    if known.fingerprint != manifest.fingerprint:
        yield "was made from other images than the samples beside it"
    elif partition.table == "timings":
        yield from _batches(table, len(known.ids))
    else:
        yield from _ids(table, known)
    if partition.table in ("scores", "extra_scores"):
        yield from _scores(store, manifest)


def _samples_content(manifest: Manifest, table: pa.Table) -> Iterator[str]:
    if not np.array_equal(_column(table, "sample_id"), np.arange(table.num_rows)):
        yield "does not number its samples from 0"
    keys = table.column("key").to_pylist()
    if fingerprint_of(_column(table, "label"), keys) != manifest.fingerprint:
        yield "has other ids, labels or keys than its fingerprint says"


def _samples(store: Store, dataset: str, split: str) -> _Samples | None:
    """Of a split; None where they are not there, _DAMAGED where that is told elsewhere."""
    partition = Partition.of("samples", dataset=dataset, split=split)
    try:
        manifest = load(store, partition)
        if manifest is None:
            return None
        parts = [_part(store, manifest, p, f"{partition.path}/{p.name}") for p in manifest.parts]
    except (InputError, _BadPartError):
        return _DAMAGED
    table = pa.concat_tables(parts)
    ids, labels = _column(table, "sample_id"), _column(table, "label")
    return _Samples(ids, labels, manifest.fingerprint)


def _ids(table: pa.Table, known: _Samples) -> Iterator[str]:
    ids = _column(table, "sample_id")
    order = np.argsort(ids, kind="stable")
    if len(np.unique(ids)) != len(ids):
        yield "has a sample twice"
    elif not np.array_equal(ids[order], known.ids):
        yield f"has {len(ids)} samples that are not the {len(known.ids)} of its split"
    elif "label" in table.column_names and not np.array_equal(
        _column(table, "label")[order], known.labels
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
    try:
        logits = load(store, manifest.partition.logits)
    except InputError:
        return
    if logits is not None and logits.content != manifest.identity.get("logits"):
        yield "was made from other logits than those beside it"


def _column(table: pa.Table, name: str) -> np.ndarray:
    return table.column(name).to_numpy()
