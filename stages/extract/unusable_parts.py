"""Parts that an earlier run left and this one cannot go on from: the user is told why."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

import cache
from cache import (
    InputError,
    Manifest,
    Part,
    Partition,
    PartitionWriter,
    Store,
    about_parts,
    differences,
    part_index,
    path_segments,
)
from stages.datasets import Source

# With other images no model of the split was finished; that is told, and what made them so.
_HARMLESS = ("dataset_fingerprint",)


def check(
    writer: PartitionWriter,
    before: Manifest | None,
    overwrite: bool,
    note: Callable[[str], None],
) -> None:
    """Of a partition that is not complete; `before` is its manifest where it was, but damaged.

    InputError where its parts come from other weights or another preprocessing, unless `overwrite`;
    a note where they do not fit for another reason.
    """
    if before is not None and before.identity == writer.identity:
        made_with = {key: before.provenance.get(key) for key in writer.made_with}
        if made_with != writer.made_with:
            differing = "; ".join(differences(made_with, writer.made_with))
            note(
                f"{writer.partition} is damaged, and was made otherwise ({differing}): all of it "
                "is made again"
            )
        return
    about = about_parts(writer.store, writer.partition)
    if about is None or about.made == writer.made:
        return
    old, new = about.identity | about.made_with, writer.identity | writer.made_with
    differing = "; ".join(differences(old, new)) or "their columns differ"
    found = f"{len(about.receipts)} parts of {writer.partition}, unfinished, were made otherwise"
    grave = {key for key in about.identity if about.identity[key] != writer.identity.get(key)}
    if grave - set(_HARMLESS) and not overwrite:
        raise InputError(
            f"{found} ({differing}): give --overwrite, another name or another --cache"
        )
    note(f"{found} ({differing}): they are made again")


def drop(store: Store, source: Source, samples: Sequence[int], note: Callable[[str], None]) -> None:
    """Take back the parts of the split that hold rows of these samples, whose pictures are others
    now; for who holds the split alone."""
    wanted, dropped = set(samples), 0
    for table in ("logits", "timings"):
        for partition, part in _parts(store, table, source):
            if wanted.intersection(_rows(store, partition, part, len(source))):
                store.delete(cache.receipt_path(partition, part))
                dropped += table == "logits"
    if dropped:
        note(
            f"{dropped} unfinished parts of {source.dataset}/{source.split} are of pictures that "
            "have been replaced: they are made again"
        )


def _parts(store: Store, table: str, source: Source) -> Iterator[tuple[Partition, Part]]:
    """Those that have a receipt."""
    place = "/".join([table, *path_segments(table, (source.dataset, source.split))])
    paths = store.files(f"{cache.RECEIPTS}/{place}")
    for partition in filter(None, dict.fromkeys(map(cache.part_place, paths))):
        yield from ((partition, each.part) for each in cache.read_receipts(store, partition))


def _rows(store: Store, partition: Partition, part: Part, n: int) -> range:
    """The samples of a part, as it says itself; all n where it says nothing."""
    try:
        data = store.read(f"{partition.path}/{part.name}")
        about = json.loads((pq.read_schema(pa.BufferReader(data)).metadata or {})[b"cascade"])
        rows = int(about["made_with"]["part_rows"])
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return range(n)
    return range(part_index(part.name) * rows, (part_index(part.name) + 1) * rows)
