"""Reads complete partitions; every part is held against its digest before a row is believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache.manifest import Manifest, Part, load
from cache.parts import BadPartError, part_bytes
from cache.schema import completed
from cache.storage import InputError, Store


def read_part(
    store: Store, manifest: Manifest, part: Part, columns: Sequence[str] | None = None
) -> pa.Table:
    """One part, whole."""
    try:
        data = part_bytes(store, manifest.partition, part)
    except BadPartError as bad:
        raise _damaged(store, manifest, part, str(bad)) from None
    # Not read_table, which imports pyarrow.dataset, and with it pandas where that is installed. One
    # thread: with more, what their allocators keep grows with the number of parts.
    table = pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)
    if table.num_rows != part.rows:
        raise _damaged(store, manifest, part, f"has {table.num_rows} rows instead of {part.rows}")
    return completed(manifest.partition.table, table, columns)


def iter_parts(
    store: Store, manifest: Manifest, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The parts in order, one in memory at a time."""
    for part in manifest.parts:
        yield read_part(store, manifest, part, columns)


def read_table(store: Store, manifest: Manifest, columns: Sequence[str] | None = None) -> pa.Table:
    """The whole partition."""
    return pa.concat_tables(iter_parts(store, manifest, columns))


def logits_of(table: pa.Table, name: str = "logits") -> np.ndarray:
    """[N, K] of the column that holds logits, or other lists of one length, without a copy where it
    is one chunk."""
    column = table.column(name)
    classes = column.type.list_size
    chunks = [chunk.flatten().to_numpy().reshape(-1, classes) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def iter_logits(store: Store, manifest: Manifest) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(sample_id int64 [n], logits float32 [n, K]) part by part."""
    for table in iter_parts(store, manifest):
        yield table.column("sample_id").to_numpy(), logits_of(table)


def same_images(manifests: Sequence[Manifest]) -> None:
    """InputError unless all partitions of a split are about the very same images."""
    first: dict[tuple[str, str], Manifest] = {}
    for manifest in manifests:
        keys = manifest.partition.keys
        other = first.setdefault((keys["dataset"], keys["split"]), manifest)
        if other.fingerprint != manifest.fingerprint:
            raise InputError(
                f"{other.partition} and {manifest.partition} were made from different images "
                f"(fingerprints {str(other.fingerprint)[:12]} and "
                f"{str(manifest.fingerprint)[:12]}): extract one of them again"
            )


def _damaged(store: Store, manifest: Manifest, part: Part, how: str) -> InputError:
    if load(store, manifest.partition) != manifest:
        return InputError(
            f"{manifest.partition} was replaced while it was being read: run the same command again"
        )
    path = store.describe(f"{manifest.partition.path}/{part.name}")
    return InputError(
        f"{path} {how}: run the command that made it again, it re-makes what is damaged"
    )
