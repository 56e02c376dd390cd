"""Brings what other caches hold into one: whole partitions, and parts of unfinished ones.

Shards that ran on machines without a common cache leave parts of the same partitions in caches of
their own. Merged, they are published as if one machine had made them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cache
from cache import (
    KEYS,
    About,
    Manifest,
    Part,
    Partition,
    PartitionWriter,
    about_parts,
    differences,
    known_identity,
    load,
    manifest_path,
    part_intact,
    publish,
    sha256,
    sound,
    withdraw,
)
from cache.locks import lock
from cache.storage import InputError, Store
from cache.upkeep.overview import Unfinished, survey

# Made again from what they were made from whenever that is not what it was: never in conflict.
_DERIVED = ("scores", "extra_scores", "streams", "results")

Progress = Callable[[int, int], None]
# Adds the rows of a complete partition to those of the same partition in the target.
Adding = Callable[[Store, Store, Manifest], None]


@dataclass
class Merged:
    """What came of one partition of a source: `done` is copied, kept, added, published or waiting
    for the `missing` parts; `count` of all parts is None where that is not known."""

    partition: Partition
    done: str
    parts: int = 0
    size_bytes: int = 0
    count: int | None = None
    missing: list[int] = field(default_factory=list)


def merge(
    target: Store,
    source: Store,
    adding: Mapping[str, Adding] | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Merged]:
    """Copy what `target` lacks, byte for byte; InputError, and nothing copied, where they disagree.

    Partitions of equal identity are kept. `adding` says, by table, how rows are put together
    instead. May be repeated, and goes on where it was interrupted. `progress` counts bytes.
    """
    seen = survey(source)
    for partition, what in seen.damaged:
        raise InputError(f"{source.describe(manifest_path(partition))} {what}")
    order = {table: rank for rank, table in enumerate(KEYS)}
    complete = sorted(seen.complete, key=lambda m: (order[m.partition.table], m.partition.path))
    adding = adding or {}
    for manifest in complete:
        if manifest.partition.table not in adding:
            _check_complete(target, source, manifest)
    checked = {u.partition: _check_unfinished(target, source, u) for u in seen.unfinished}
    abouts = {partition: about for partition, about in checked.items() if about is not None}
    copied = _Copied(progress, _bytes(complete, seen.unfinished))
    outcomes = []
    for manifest in complete:
        with lock(target, manifest.partition.guard):
            add = adding.get(manifest.partition.table)
            outcomes.append(
                _added(target, source, manifest, add)
                if add
                else _copy_complete(target, source, manifest, copied)
            )
    for partition, about in abouts.items():
        with lock(target, partition.guard):
            outcomes.append(_copy_parts(target, source, partition, about, copied))
    return outcomes


class _Copied:
    """Bytes copied so far, for who watches."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, part: Part) -> None:
        self._done += part.size_bytes
        self._progress(self._done, self._total)


def _bytes(complete: list[Manifest], unfinished: tuple[Unfinished, ...]) -> int:
    parts = [part for manifest in complete for part in manifest.parts]
    parts += [receipt.part for each in unfinished for receipt in each.receipts]
    return sum(part.size_bytes for part in parts)


# Whether the two agree, before anything is copied


def _check_complete(target: Store, source: Store, manifest: Manifest) -> None:
    there = known_identity(target, manifest.partition)
    if there is not None and manifest.partition.table not in _DERIVED:
        _agree(target, source, manifest.partition, there, manifest.identity)
    _check_images(target, source, manifest.partition, manifest.fingerprint)


def _check_unfinished(target: Store, source: Store, unfinished: Unfinished) -> About | None:
    """What the source's parts have in common; None where none of them is whole."""
    partition = unfinished.partition
    about = about_parts(source, partition, unfinished.receipts)
    if about is None:
        return None
    there = known_identity(target, partition)
    if there is not None:
        _agree(target, source, partition, there, about.identity)
    _check_images(target, source, partition, about.identity.get("dataset_fingerprint"))
    ours = about_parts(target, partition)
    if ours is not None and ours.made != about.made:
        differing = differences(ours.made_with, about.made_with) or ["their columns differ"]
        raise _disagree(target, source, partition, differing)
    return about


def _check_images(target: Store, source: Store, partition: Partition, print_: str | None) -> None:
    """A split is the same images in both."""
    keys = partition.keys
    if print_ is None or "split" not in keys or partition.table == "samples":
        return
    samples = Partition.of("samples", dataset=keys["dataset"], split=keys["split"])
    known = load(target, samples)
    if known is not None and known.fingerprint != print_:
        ours, theirs = {"images": known.fingerprint}, {"images": print_}
        raise _disagree(target, source, partition, differences(ours, theirs))


def _agree(
    target: Store,
    source: Store,
    partition: Partition,
    ours: dict[str, Any],
    theirs: dict[str, Any],
) -> None:
    if differing := differences(ours, theirs):
        raise _disagree(target, source, partition, differing)


def _disagree(
    target: Store, source: Store, partition: Partition, differing: list[str]
) -> InputError:
    return InputError(
        f"{target.root} and {source.root} disagree on {partition} ({'; '.join(differing)}), so "
        "nothing of the latter was merged: `cascade cache rm` one, or give another --cache"
    )


# Copying


def _added(target: Store, source: Store, manifest: Manifest, add: Adding) -> Merged:
    before = load(target, manifest.partition)
    add(target, source, manifest)
    kept = before is not None and load(target, manifest.partition) == before
    size = sum(part.size_bytes for part in manifest.parts)
    done = "kept" if kept else "added"
    return Merged(manifest.partition, done, len(manifest.parts), size, len(manifest.parts))


def _copy_complete(target: Store, source: Store, manifest: Manifest, copied: _Copied) -> Merged:
    partition, count = manifest.partition, len(manifest.parts)
    if sound(target, partition) is not None or _is_stale(target, manifest):
        for part in manifest.parts:
            copied.add(part)
        return Merged(partition, "kept", count=count)
    withdraw(target, partition)
    for part in manifest.parts:
        _copy_part(target, source, partition, part)
        copied.add(part)
    publish(target, manifest)
    _clear(target, manifest)
    size = sum(part.size_bytes for part in manifest.parts)
    return Merged(partition, "copied", count, size, count)


def _is_stale(target: Store, manifest: Manifest) -> bool:
    """Scores of other logits than the target has would be made again anyway."""
    if manifest.partition.table not in ("scores", "extra_scores"):
        return False
    logits = load(target, manifest.partition.logits)
    return logits is not None and logits.content != manifest.identity.get("logits")


def _clear(store: Store, manifest: Manifest) -> None:
    """What an unfinished run had left at the partition's place."""
    kept = {f"{manifest.partition.path}/{part.name}" for part in manifest.parts}
    left = [path for path in store.files(manifest.partition.path) if path not in kept]
    for path in left + store.files(cache.receipts_folder(manifest.partition)):
        store.delete(path)


def _copy_parts(
    target: Store, source: Store, partition: Partition, about: About, copied: _Copied
) -> Merged:
    """Parts that are damaged in the source are left out, and so remain missing."""
    if sound(target, partition, about.identity) is not None:
        return Merged(partition, "kept")
    there = {receipt.part.name: receipt for receipt in cache.read_receipts(target, partition)}
    outcome = Merged(partition, "waiting")
    for receipt in about.receipts:
        known = there.get(receipt.part.name)
        lacking = known is None or not part_intact(target, partition, known.part)
        if lacking and part_intact(source, partition, receipt.part):
            _copy_part(target, source, partition, receipt.part)
            cache.write_receipt(target, partition, receipt)
            outcome.parts += 1
            outcome.size_bytes += receipt.part.size_bytes
        copied.add(receipt.part)
    return _published(target, about, outcome)


def _copy_part(target: Store, source: Store, partition: Partition, part: Part) -> None:
    """The part's bytes, unless they are there already."""
    if part_intact(target, partition, part):
        return
    path = f"{partition.path}/{part.name}"
    try:
        data = source.read(path)
    except FileNotFoundError:
        raise InputError(f"{source.describe(path)} is missing: {_MEND}") from None
    if data.size != part.size_bytes or sha256(data) != part.sha256:
        raise InputError(f"{source.describe(path)} is damaged: {_MEND}")
    target.write(path, data)


_MEND = "run the command that made it again, then merge again"


def _published(target: Store, about: About, outcome: Merged) -> Merged:
    """The partition made complete, if all of its parts are there."""
    outcome.count = about.count(target, outcome.partition)
    if outcome.count is None:
        return outcome
    writer = PartitionWriter(
        target,
        outcome.partition,
        about.schema,
        about.identity,
        about.provenance,
        about.made_with,
    )
    outcome.missing = writer.missing(outcome.count)
    if not outcome.missing:
        writer.finish(outcome.count)
        outcome.done = "published"
    return outcome
