"""Which images of a split cannot be decoded, found before a run rather than in its middle.

They end the run, or are left out of every model alike. Which were left out stands with the split's
samples in the cache, so that every later stage works on the same images. Sample ids are positions
among the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

import cache
from cache import DamagedManifestError, Partition, Provenance, Store, one_of, part_name
from stages.datasets.decode import UnreadableImageError
from stages.datasets.source import Source
from stages.parallel import default_workers, prefetch

POLICIES = ("stop", "skip")


class Unreadable(NamedTuple):
    """One image that cannot be decoded: its sample id, its key and what is wrong with it."""

    position: int
    key: str
    reason: str


def unreadable(
    source: Source,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Unreadable]:
    """Decodes all N images once, in threads, and collects those that fail, by position.

    `progress(done, N)` is called after each. What is no fault of one image raises InputError at
    once: a disk that fails, a damaged file of many images.

    >>> from stages.datasets import open_split
    >>> source = open_split("digits", "test")
    >>> bad = unreadable(source)
    >>> len(source.without({image.position: image.reason for image in bad}))
    500
    """
    bad = []
    checks = prefetch(partial(_fault, source), range(len(source)), workers or default_workers())
    for position, reason in enumerate(checks):
        if reason is not None:
            bad.append(Unreadable(position, source.keys[position], reason))
        if progress:
            progress(position + 1, len(source))
    return bad


def _fault(source: Source, position: int) -> str | None:
    try:
        source.read(position)
    except UnreadableImageError as error:
        return error.reason
    return None


def readable(
    store: Store,
    source: Source,
    policy: str = "stop",
    workers: int | None = None,
    note: Callable[[str], None] = lambda message: None,
    afresh: bool = False,
) -> Source:
    """The source without what the cache leaves out of it, or, to `skip`, what cannot be decoded.

    To skip decodes every image once, unless the cache knows what to leave out; `afresh` does not
    ask the cache.
    """
    if policy not in POLICIES:
        raise one_of("policy for unreadable images", policy, POLICIES)
    recorded = [] if afresh else _recorded(store, source)
    if recorded:
        count = f"{len(recorded)} image" + ("" if len(recorded) == 1 else "s")
        note(f"left out of {source.dataset}/{source.split} as before: {count}")
        return source.without_keys(recorded)
    bad = unreadable(source, workers) if policy == "skip" and source.decoder else []
    for image in bad:
        note(f"left out: image {image.position} of {source.dataset}/{source.split}: {image.reason}")
    return source.without({image.position: image.reason for image in bad})


def _recorded(store: Store, source: Source) -> list[tuple[str, str]]:
    """(key, reason) of the images that the cached split was made without."""
    partition = Partition.of("samples", dataset=source.dataset, split=source.split)
    try:
        samples = cache.load(store, partition)
        about = samples.provenance if samples else {}
    except DamagedManifestError:
        about = _said_by_the_part(store, partition)
    return [(key, why) for key, why in about.get("left_out") or ()]


def _said_by_the_part(store: Store, partition: Partition) -> Provenance:
    """The provenance in the file itself, where there is one to be read."""
    try:
        data = store.read(f"{partition.path}/{part_name(0)}")
        said = pq.read_schema(pa.BufferReader(data)).metadata[b"cascade"]
        return dict(json.loads(said)["provenance"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
