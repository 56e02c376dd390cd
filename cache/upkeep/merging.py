"""Brings what other caches hold into one: whole partitions, and parts of unfinished ones.

Shards that ran on machines without a common cache leave parts of the same partitions in caches of
their own. Merged, they are published as if one machine had made them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cache
from cache import (
    KEYS,
    About,
    BadPartError,
    Manifest,
    Part,
    Partition,
    PartitionWriter,
    Provenance,
    about_parts,
    differences,
    known_identity,
    load,
    manifest_path,
    part_bytes,
    part_intact,
    publish,
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
    order, adding = list(KEYS), adding or {}
    complete = sorted(
        seen.complete, key=lambda m: (order.index(m.partition.table), m.partition.path)
    )
    parts = [part for manifest in complete for part in manifest.parts]
    parts += [receipt.part for each in seen.unfinished for receipt in each.receipts]
    pair = _Pair(target, source, progress, sum(part.size_bytes for part in parts))
    for manifest in complete:
        if manifest.partition.table not in adding:
            derived = manifest.partition.table in _DERIVED
            pair.check(manifest.partition, manifest.identity, derived)
    checked = [(each.partition, pair.checked(each)) for each in seen.unfinished]
    outcomes = []
    for manifest in complete:
        with lock(target, manifest.partition.guard):
            add = adding.get(manifest.partition.table)
            outcomes.append(pair.added(manifest, add) if add else pair.copied(manifest))
    for partition, about in checked:
        if about is not None:
            with lock(target, partition.guard):
                outcomes.append(pair.copied_parts(partition, about))
    return outcomes


class _Pair:
    """Two caches, and how many of the bytes of one of them have been brought into the other."""

    def __init__(self, target: Store, source: Store, progress: Progress, total: int) -> None:
        self._target, self._source = target, source
        self._progress, self._total, self._done = progress, total, 0

    # Whether the two agree, before anything is copied

    def check(self, partition: Partition, identity: Provenance, derived: bool = False) -> None:
        """InputError where the target has rows of another identity, or of other images."""
        there = known_identity(self._target, partition)
        if there is not None and not derived:
            self._agree(partition, there, identity)
        keys, images = partition.keys, identity.get("dataset_fingerprint")
        if images is None or "split" not in keys or partition.table == "samples":
            return
        samples = Partition.of("samples", dataset=keys["dataset"], split=keys["split"])
        known = load(self._target, samples)
        if known is not None:
            self._agree(partition, {"images": known.fingerprint}, {"images": images})

    def checked(self, unfinished: Unfinished) -> About | None:
        """What the source's parts have in common; None where none of them is whole."""
        partition = unfinished.partition
        about = about_parts(self._source, partition, unfinished.receipts)
        if about is None:
            return None
        self.check(partition, about.identity)
        ours = about_parts(self._target, partition)
        if ours is not None and ours.made != about.made:
            self._agree(partition, ours.made_with, about.made_with)
            raise self._disagree(partition, ["their columns differ"])
        return about

    def _agree(self, partition: Partition, ours: Provenance, theirs: Provenance) -> None:
        if differing := differences(ours, theirs):
            raise self._disagree(partition, differing)

    def _disagree(self, partition: Partition, differing: list[str]) -> InputError:
        return InputError(
            f"{self._target.root} and {self._source.root} disagree on {partition} "
            f"({'; '.join(differing)}), so nothing of the latter was merged: `cascade cache rm` "
            "one, or give another --cache"
        )

    # Copying

    def added(self, manifest: Manifest, add: Adding) -> Merged:
        before = load(self._target, manifest.partition)
        add(self._target, self._source, manifest)
        kept = before is not None and load(self._target, manifest.partition) == before
        count = len(manifest.parts)
        done = "kept" if kept else "added"
        return Merged(manifest.partition, done, count, manifest.size_bytes, count)

    def copied(self, manifest: Manifest) -> Merged:
        partition, count = manifest.partition, len(manifest.parts)
        if sound(self._target, partition) is not None or self._is_stale(manifest):
            for part in manifest.parts:
                self._passed(part)
            return Merged(partition, "kept", count=count)
        withdraw(self._target, partition)
        for part in manifest.parts:
            self._copy(partition, part)
            self._passed(part)
        publish(self._target, manifest)
        # What an unfinished run had left at the partition's place.
        kept = {f"{partition.path}/{part.name}" for part in manifest.parts}
        left = [path for path in self._target.files(partition.path) if path not in kept]
        for path in left + self._target.files(cache.receipts_folder(partition)):
            self._target.delete(path)
        return Merged(partition, "copied", count, manifest.size_bytes, count)

    def _is_stale(self, manifest: Manifest) -> bool:
        """Scores of other logits than the target has would be made again anyway."""
        if manifest.partition.table not in ("scores", "extra_scores"):
            return False
        there = (load(self._target, place) for place in manifest.partition.outputs)
        return any(one and one.content != manifest.identity.get("logits") for one in there)

    def copied_parts(self, partition: Partition, about: About) -> Merged:
        """Parts that are damaged in the source are left out, and so remain missing."""
        target = self._target
        if sound(target, partition, about.identity) is not None:
            return Merged(partition, "kept")
        there = {receipt.part.name: receipt for receipt in cache.read_receipts(target, partition)}
        outcome = Merged(partition, "waiting")
        for receipt in about.receipts:
            known = there.get(receipt.part.name)
            lacking = known is None or not part_intact(target, partition, known.part)
            if lacking and part_intact(self._source, partition, receipt.part):
                self._copy(partition, receipt.part)
                cache.write_receipt(target, partition, receipt)
                outcome.parts += 1
                outcome.size_bytes += receipt.part.size_bytes
            self._passed(receipt.part)
        return _published(target, about, outcome)

    def _copy(self, partition: Partition, part: Part) -> None:
        """The part's bytes, unless they are there already."""
        if part_intact(self._target, partition, part):
            return
        path = f"{partition.path}/{part.name}"
        try:
            data = part_bytes(self._source, partition, part)
        except BadPartError:
            how = "damaged" if self._source.exists(path) else "missing"
            raise InputError(
                f"{self._source.describe(path)} is {how}: run the command that made it again, "
                "then merge again"
            ) from None
        self._target.write(path, data)

    def _passed(self, part: Part) -> None:
        self._done += part.size_bytes
        self._progress(self._done, self._total)


def _published(target: Store, about: About, outcome: Merged) -> Merged:
    """The partition made complete, if all of its parts are there."""
    outcome.count = about.count(target, outcome.partition)
    if outcome.count is None:
        return outcome
    making = (about.schema, about.identity, about.provenance, about.made_with)
    writer = PartitionWriter(target, outcome.partition, *making)
    outcome.missing = writer.missing(outcome.count)
    if not outcome.missing:
        writer.finish(outcome.count)
        outcome.done = "published"
    return outcome
