"""images → hashes: the keys that a memory recognises pictures by, for each variant of each picture.

Every picture is decoded once for all hashes and variants. A run that was interrupted goes on after
its last whole part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

import cache
from cache import (
    PART_ROWS,
    InputError,
    Manifest,
    Partition,
    PartitionWriter,
    Store,
    hashes_schema,
    now,
    versions,
)
from stages.datasets import Source, fingerprint
from stages.hashes.registry import hash_of
from stages.hashes.spec import Hash
from stages.parallel import default_workers, prefetch
from stages.runtimes import VARIANTS, checked as checked_variants

Progress = Callable[[int, int], None]

# Bytes of decoded pictures that a worker holds at a time, and the pictures that may be.
_BATCH_BYTES, _BATCH = 1 << 23, 1024


@dataclass
class Job:
    """One hash of one variant: where its keys go."""

    hash: Hash
    variant: str
    writer: PartitionWriter
    resumed_rows: int

    def lacks(self, part: int) -> bool:
        return self.writer.complete is None and part not in self.writer.done


@dataclass(frozen=True)
class HashedSplit:
    """One hash of one variant: `rows` keys of `key_bytes` each, `distinct` of them different."""

    split: str
    variant: str
    algorithm: str
    rows: int
    resumed_rows: int
    key_bytes: int
    distinct: int


def run(
    store: Store,
    source: Source,
    algorithms: Sequence[str],
    variants: Sequence[str] = ("identity",),
    workers: int | None = None,
    part_rows: int = PART_ROWS,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[HashedSplit]:
    """Hash a split; one row per variant and algorithm.

    InputError for an unknown name, a package that is missing, and a cache that knows the split with
    other images.
    """
    hashes = [hash_of(name) for name in dict.fromkeys(algorithms)]
    for each in hashes:
        each.require()
    _same_split(store, source)
    wanted = [
        (each, _partition(source, each, variant))
        for variant in checked_variants(list(variants))
        for each in hashes
    ]
    with cache.lock_all(store, [place.guard for _, place in wanted]):
        jobs = [_job(store, source, *each, part_rows, overwrite) for each in wanted]
        _hash_split(source, jobs, workers or default_workers(), part_rows, progress)
        return [_finish(store, source, job, part_rows) for job in jobs]


def _partition(source: Source, by: Hash, variant: str) -> Partition:
    keys = {"dataset": source.dataset, "split": source.split, "variant": variant}
    return Partition.of("hashes", algorithm=by.name, **keys)


def _same_split(store: Store, source: Source) -> None:
    where = f"{source.dataset}/{source.split}"
    if not len(source):
        raise InputError(f"{where} holds no images: check --data")
    samples = Partition.of("samples", dataset=source.dataset, split=source.split)
    known = cache.load(store, samples)
    if known is not None and known.fingerprint != fingerprint(source):
        raise InputError(
            f"the cache holds other images of {where} (fingerprint {str(known.fingerprint)[:12]}) "
            f"than those given ({fingerprint(source)[:12]}): check --data, or use another --cache"
        )


def _job(
    store: Store, source: Source, by: Hash, place: Partition, part_rows: int, overwrite: bool
) -> Job:
    identity = {
        "dataset_fingerprint": fingerprint(source),
        "hash": by.name,
        "parameters": dict(by.parameters),
        "key_bytes": by.length,
    }
    if by.made_by is not None:
        identity |= {"made_by": by.made_by}
        found = cache.load(store, place)
        # What another version of the package made is made again unasked.
        overwrite |= found is not None and found.identity | {"made_by": by.made_by} == identity
    provenance = {
        "made": now(),
        "versions": versions(),
        "packages": by.versions,
        "hamming_bits": by.bits,
        "part_rows": part_rows,
    }
    made_with = {"part_rows": part_rows, "packages": by.versions}
    schema = hashes_schema(by.length)
    writer = PartitionWriter(store, place, schema, identity, provenance, made_with, overwrite)
    parts = writer.complete.parts if writer.complete else writer.done.values()
    return Job(by, place.keys["variant"], writer, sum(part.rows for part in parts))


def _hash_split(
    source: Source, jobs: Sequence[Job], workers: int, part_rows: int, progress: Progress
) -> None:
    """All keys of a part, then the next part."""
    n = len(source)
    starts = [
        start
        for part, start in enumerate(range(0, n, part_rows))
        if any(job.lacks(part) for job in jobs)
    ]
    step = max(1, min(_BATCH, _BATCH_BYTES // source.read(0).nbytes)) if starts else 1
    done, total = 0, sum(min(part_rows, n - start) for start in starts)
    for first in starts:
        last = min(first + part_rows, n)
        lacking = [job for job in jobs if job.lacks(first // part_rows)]
        spans = [(start, min(start + step, last)) for start in range(first, last, step)]
        found: list[list[np.ndarray]] = []
        for keys in prefetch(partial(_keys, source, lacking), spans, workers):
            found.append(keys)
            done += len(keys[0])
            progress(done, total)
        for job, keys in zip(lacking, zip(*found, strict=True), strict=True):
            table = _table(np.concatenate(keys), first)
            job.writer.write(first // part_rows, table)


def _keys(source: Source, jobs: Sequence[Job], span: tuple[int, int]) -> list[np.ndarray]:
    """Each job's keys of pictures start … stop − 1."""
    pictures = [source.read(i) for i in range(*span)]
    turned = {
        variant: [VARIANTS[variant](picture) for picture in pictures]
        for variant in {job.variant for job in jobs}
    }
    return [job.hash.digest_each(turned[job.variant]) for job in jobs]


def _table(keys: np.ndarray, first: int) -> pa.Table:
    n, length = keys.shape
    buffers = [None, pa.py_buffer(np.ascontiguousarray(keys))]
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(length), n, buffers)
    return pa.table([np.arange(first, first + n), column], schema=hashes_schema(length))


def hash_keys(store: Store, manifest: Manifest) -> np.ndarray:
    """The keys of a hashes partition, uint8 [N, length], by sample id."""
    table = cache.read_table(store, manifest).combine_chunks()
    column = table.column("hash")
    length = column.type.byte_width
    values = [
        np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * length :][: len(chunk) * length]
        for chunk in column.chunks
    ]
    keys = np.concatenate(values).reshape(-1, length)
    return keys[np.argsort(table.column("sample_id").to_numpy(), kind="stable")]


def _finish(store: Store, source: Source, job: Job, part_rows: int) -> HashedSplit:
    writer = job.writer
    manifest = writer.complete or writer.finish(-(-len(source) // part_rows))
    keys = hash_keys(store, manifest)
    which, distinct = (source.split, job.variant, job.hash.name), len(np.unique(keys, axis=0))
    return HashedSplit(*which, manifest.rows, job.resumed_rows, job.hash.length, distinct)
