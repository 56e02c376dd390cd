"""The driver: what the cache holds, what is to be made, and publishing what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from cache import Manifest, Part, Partition, Store, lock_all, logits_of, read_part
from stages import costs
from stages.datasets import Source
from stages.extract import samples
from stages.extract.engines import engine
from stages.extract.options import Options
from stages.extract.resume import ExtractEntry, both, resumed
from stages.extract.samples import SplitDigest
from stages.extract.work import Work
from stages.extract.worker import Loaded
from stages.models import Chosen
from stages.runtimes import Device

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ExtractedPartition:
    """One model on one variant of a split: its rows there, `resumed_rows` from before this run.

    `complete` is false while a shard waits for its siblings; `images_per_second` and `accuracy`
    are None where no image tells, or has a label.
    """

    model: str
    split: str
    variant: str
    runtime: str
    rows: int
    resumed_rows: int
    complete: bool
    forward_seconds: float
    images_per_second: float | None
    accuracy: float | None


def run(
    store: Store,
    sources: Sequence[Source],
    chosen: Sequence[Chosen],
    options: Options,
    progress: Progress = lambda done, total: None,
) -> list[ExtractedPartition]:
    """`run_all` in one runtime."""
    return run_all(store, sources, [(chosen, options)], progress)


def run_all(
    store: Store,
    sources: Sequence[Source],
    runs: Sequence[tuple[Sequence[Chosen], Options]],
    progress: Progress = lambda done, total: None,
) -> list[ExtractedPartition]:
    """Extract all models over all splits, each image decoded once; one row per runtime, split,
    model and variant.

    The options of the runs differ in device and precision alone. Parts that an earlier run finished
    are not made again: see `cache.PartitionWriter`.

    InputError: labels beyond a model's classes, NaN logits, a cache that holds something else.
    """
    options = runs[0][1]
    runs_on = engine(options.engine)
    _tell_idle_shard(sources, options)
    loaded = Loaded()
    with ExitStack() as held:
        splits = held.enter_context(samples.kept(store, sources, options))
        held.enter_context(runs_on.ready(options.note))
        named = [
            (chosen, replace(each, device_name=each.device_name or runs_on.device_name(each)))
            for chosen, each in runs
        ]
        entries = list(_entries(store, splits, named, loaded, held))
        open_entries = [entry for entry in entries if entry.task.parts]
        if open_entries:
            devices = {each.runtime: each.device for _, each in runs}
            _make(store, sources, open_entries, options, devices, loaded, progress)
        rows = [_finish(store, entry, options) for entry in entries]
        for split in splits:
            samples.tell_stale(store, split, options)
    if options.overwrite:  # the costs known so far are those of the weights before
        names = list(dict.fromkeys(one.name for chosen, _ in runs for one in chosen))
        for dataset in {source.dataset for source in sources}:
            if dropped := costs.drop(store, dataset, names):
                options.note(dropped)
    return rows


def _tell_idle_shard(sources: Sequence[Source], options: Options) -> None:
    index, count = options.shard
    for source in sources:
        parts = -(-len(source) // options.part_rows)
        if index >= parts:
            options.note(
                f"shard {index}/{count} has no part of {source.dataset}/{source.split}, whose "
                f"{len(source)} images make {parts} of {options.part_rows}: for work for all give "
                f"every shard --part-rows {max(1, len(source) // count)}"
            )


def _make(
    store: Store,
    sources: Sequence[Source],
    entries: Sequence[ExtractEntry],
    options: Options,
    devices: Mapping[str, Device],
    loaded: Loaded,
    progress: Progress,
) -> None:
    """Let the engine make what is lacking; a split is published as soon as it is whole."""
    work = Work(
        root=store.root,
        sources=tuple(sources),
        tasks=tuple(entry.task for entry in entries),
        part_rows=options.part_rows,
        workers=options.decoders,
        devices=devices,
    )
    total, done = work.images(work.items()), 0

    def tell(images: int) -> None:
        nonlocal done
        done += images
        progress(done, total)

    left = {i: set(task.parts) for i, task in enumerate(work.tasks)}
    # Closed in any case: no worker writes on when the locks are gone.
    with closing(engine(options.engine).make(work, options, loaded, tell)) as parts:
        for made in parts:
            entries[made.task].add(made)
            left[made.task].remove(made.part)
            if not left[made.task]:
                _publish(entries[made.task], options)


def _entries(
    store: Store,
    splits: Sequence[SplitDigest],
    runs: Sequence[tuple[Sequence[Chosen], Options]],
    loaded: Loaded,
    held: ExitStack,
) -> Iterator[ExtractEntry]:
    """Every model on every variant of every split, its partition locked until `held` closes."""
    wanted = [
        (i, seen, one, _partition(seen.source, variant, one, options), options)
        for chosen, options in runs
        for i, seen in enumerate(splits)
        for one in chosen
        for variant in options.variants
    ]
    names, first = [partition.path for *_, partition, _ in wanted], runs[0][1]
    held.enter_context(lock_all(store, names, shared=first.shard[1] > 1, told=first.note))
    for each in wanted:
        yield resumed(store, *each, loaded)


def _partition(source: Source, variant: str, chosen: Chosen, options: Options) -> Partition:
    keys = {"dataset": source.dataset, "split": source.split, "variant": variant}
    return Partition.of("logits", runtime=options.runtime, model=chosen.name, **keys)


def _publish(entry: ExtractEntry, options: Options) -> None:
    """The manifests, once all parts are there: those of other shards too."""
    if entry.logits.complete:
        return
    count = -(-len(entry.source) // options.part_rows)
    writers = (entry.timings, entry.logits)
    if options.shard[1] > 1:
        for writer in writers:
            writer.refresh()
    if not any(writer.missing(count) for writer in writers):
        for writer in writers:
            writer.finish(count)


def _finish(store: Store, entry: ExtractEntry, options: Options) -> ExtractedPartition:
    """Publish what is not published yet, and sum up."""
    _publish(entry, options)
    entry.logits.restate("trained_on", "parameters", "macs")
    manifest = entry.logits.complete
    parts = manifest.parts if manifest else tuple(both(entry.logits, entry.timings))
    rows = sum(part.rows for part in parts)
    right = entry.right
    if rows != entry.fresh_rows:
        right = sum(_right(store, entry, part) for part in parts)
    seconds = entry.forward_ms / 1e3
    return ExtractedPartition(
        *(entry.task.chosen.name, entry.source.split, entry.task.view.variant, entry.task.runtime),
        *(rows, entry.resumed_rows, manifest is not None, seconds),
        images_per_second=entry.fresh_rows / seconds if seconds else None,
        accuracy=right / rows if rows and entry.source.labelled else None,
    )


def _right(store: Store, entry: ExtractEntry, part: Part) -> int:
    writer = entry.logits
    manifest = Manifest(writer.partition, (part,), writer.identity, writer.provenance)
    table = read_part(store, manifest, part)
    labels = entry.source.labels[table.column("sample_id").to_numpy()]
    return int((logits_of(table).argmax(axis=1) == labels).sum())
