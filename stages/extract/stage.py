"""The driver: what the cache holds, what is to be made, and publishing what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import cache
from cache import (
    Manifest,
    Part,
    Partition,
    PartitionWriter,
    Provenance,
    Store,
    known_identity,
    lock_all,
    logits_of,
    now,
    read_part,
    versions,
    withdraw,
)
from stages import costs
from stages.datasets import Source, fingerprint
from stages.extract import classes, samples, unusable_parts
from stages.extract.digests import PICTURES
from stages.extract.engines import engine
from stages.extract.options import Options
from stages.extract.samples import SplitDigest
from stages.extract.work import Made, Task, Work
from stages.extract.worker import Loaded
from stages.models import Chosen, code_of, sizes
from stages.runtimes import View

Progress = Callable[[int, int], None]
_TABLES = ("logits", "timings")


@dataclass
class ExtractEntry:
    """One model on one variant of a split: its partition, and what this run did for it."""

    task: Task
    source: Source
    logits: PartitionWriter
    timings: PartitionWriter
    resumed_rows: int
    forward_ms: float = 0.0
    right: int = 0
    fresh_rows: int = 0

    def add(self, made: Made) -> None:
        self.logits.done[made.part], self.timings.done[made.part] = made.logits, made.timings
        self.forward_ms += made.forward_ms
        self.right += made.right
        self.fresh_rows += made.logits.rows


@dataclass(frozen=True)
class ExtractedPartition:
    """One model on one variant of a split: its rows there, `resumed_rows` from before this run.

    `complete` is false while a shard waits for its siblings; `images_per_second` and `accuracy`
    are None where no image tells.
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
    """Extract all models over all splits; one row per split, model and variant.

    Parts that an earlier run finished are not made again: see `cache.PartitionWriter`.

    InputError: labels beyond a model's classes, NaN logits, a cache that holds something else.
    """
    runs_on = engine(options.engine)
    _tell_idle_shard(sources, options)
    loaded = Loaded()
    with ExitStack() as held:
        splits = held.enter_context(samples.kept(store, sources, options))
        held.enter_context(runs_on.ready(options.note))
        name = options.device_name or runs_on.device_name(options)
        options = replace(options, device_name=name)
        entries = list(_entries(store, splits, chosen, options, loaded, held))
        open_entries = [entry for entry in entries if entry.task.parts]
        if open_entries:
            _make(store, sources, open_entries, options, loaded, progress)
        rows = [_finish(store, entry, options) for entry in entries]
        for split in splits:
            samples.tell_stale(store, split, options)
    if options.overwrite:  # the costs known so far are those of the weights before
        for dataset in {source.dataset for source in sources}:
            if dropped := costs.drop(store, dataset, [one.name for one in chosen]):
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
    loaded: Loaded,
    progress: Progress,
) -> None:
    """Let the engine make what is lacking; a split is published as soon as it is whole."""
    work = Work(
        root=store.root,
        sources=tuple(sources),
        tasks=tuple(entry.task for entry in entries),
        precision=options.precision,
        batch=options.batch,
        part_rows=options.part_rows,
        workers=options.decoders,
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
    chosen: Sequence[Chosen],
    options: Options,
    loaded: Loaded,
    held: ExitStack,
) -> Iterator[ExtractEntry]:
    """Every model on every variant of every split, its partition locked until `held` closes."""
    wanted = [
        (i, seen, one, _partition(seen.source, variant, one, options))
        for i, seen in enumerate(splits)
        for one in chosen
        for variant in options.variants
    ]
    names = [partition.path for *_, partition in wanted]
    held.enter_context(lock_all(store, names, shared=options.shard[1] > 1, told=options.note))
    for each in wanted:
        yield _entry(store, *each, options, loaded)


def _partition(source: Source, variant: str, chosen: Chosen, options: Options) -> Partition:
    keys = {"dataset": source.dataset, "split": source.split, "variant": variant}
    return Partition.of("logits", runtime=options.runtime, model=chosen.name, **keys)


def _entry(
    store: Store,
    split: int,
    seen: SplitDigest,
    chosen: Chosen,
    partition: Partition,
    options: Options,
    loaded: Loaded,
) -> ExtractEntry:
    source, view = seen.source, View(partition.keys["variant"], chosen.spec.preprocessing)
    identity: Provenance = {
        "dataset_fingerprint": fingerprint(source),
        "architecture": chosen.spec.name,
        "weights_sha256": chosen.weights.sha256,
        "preprocessing": chosen.spec.preprocessing.describe(),
        "decoder": source.decoder,
    }
    before = cache.load(store, partition)
    identity |= _code(store, partition, chosen, options)
    count = classes.known(before, identity)
    if count is None:
        count = classes.seen(source, split, chosen, view, loaded)
    identity["classes"] = count
    classes.check(source, chosen.name, count)
    made_with: Provenance = {"batch_size": options.batch, "part_rows": options.part_rows}
    made_with |= {PICTURES: seen.digest} if seen.replaced else {}
    provenance = _provenance(source, chosen, count, options) | made_with
    provenance[PICTURES] = seen.digest
    if _is_of_other_pictures(store, before, seen, options.overwrite):
        for table in _TABLES:  # all rows are made again
            withdraw(store, Partition(table, partition.values))
        before = None
    task = Task(
        split, chosen, view, count, partition.values, identity, provenance, made_with, frozenset()
    )
    logits, timings = (_writer(store, task, table, options) for table in _TABLES)
    if not (logits.complete and timings.complete):  # the rows of both come from one forward pass
        logits.reopen()
        timings.reopen()
    if not logits.complete:
        unusable_parts.check(logits, before, options.overwrite, options.note)
    parts = frozenset() if logits.complete else _lacking(len(source), logits, timings, options)
    there = logits.complete.parts if logits.complete else _both(logits, timings)
    task = replace(task, parts=parts)
    return ExtractEntry(task, source, logits, timings, sum(part.rows for part in there))


def _is_of_other_pictures(
    store: Store, before: Manifest | None, seen: SplitDigest, overwrite: bool
) -> bool:
    """Whether no row that is there may stay: to be overwritten, or damaged, so that others would
    stand beside them."""
    unknown = None if overwrite else seen.digest
    if before is None or before.provenance.get(PICTURES, unknown) == seen.digest:
        return False
    places = (Partition(table, before.partition.values) for table in _TABLES)
    return overwrite or not all(cache.sound(store, place) for place in places)


def _code(store: Store, partition: Partition, chosen: Chosen, options: Options) -> dict[str, str]:
    """The digest of a package's model code, not asked of logits from before it was recorded."""
    code = code_of(chosen.spec)
    before = known_identity(store, partition) if code and not options.overwrite else None
    return {"model_code": code} if code and (before is None or "model_code" in before) else {}


def _writer(store: Store, task: Task, table: str, options: Options) -> PartitionWriter:
    overwrite = options.overwrite if table == "logits" else True
    return PartitionWriter.of(task.writer(store, table), overwrite)


def _both(logits: PartitionWriter, timings: PartitionWriter) -> list[Part]:
    return [part for index, part in logits.done.items() if index in timings.done]


def _lacking(
    n: int, logits: PartitionWriter, timings: PartitionWriter, options: Options
) -> frozenset[int]:
    """The parts of this shard that are not there with both tables."""
    index, count = options.shard
    parts = range(index, -(-n // options.part_rows), count)
    return frozenset(p for p in parts if p not in logits.done or p not in timings.done)


def _provenance(source: Source, chosen: Chosen, classes: int, options: Options) -> Provenance:
    spec, weights = chosen.spec, chosen.weights
    parameters, macs = sizes(spec, classes, lambda: source.read(0))
    return {
        "made": now(),
        "versions": versions(),
        "precision": options.precision,
        "engine": options.engine,
        "device": options.device_name,
        "weights_origin": weights.origin,
        "weights_sha256": weights.sha256,
        "trained_on": {"splits": list(weights.trained_on), "source": weights.trained_on_source},
        "parameters": parameters,
        "macs": macs,
    }


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
    parts = manifest.parts if manifest else tuple(_both(entry.logits, entry.timings))
    rows = sum(part.rows for part in parts)
    right = entry.right
    if rows != entry.fresh_rows:
        right = sum(_right(store, entry, part) for part in parts)
    seconds = entry.forward_ms / 1e3
    return ExtractedPartition(
        *(entry.task.chosen.name, entry.source.split, entry.task.view.variant, options.runtime),
        *(rows, entry.resumed_rows, manifest is not None, seconds),
        images_per_second=entry.fresh_rows / seconds if seconds else None,
        accuracy=right / rows if rows else None,
    )


def _right(store: Store, entry: ExtractEntry, part: Part) -> int:
    writer = entry.logits
    manifest = Manifest(writer.partition, (part,), writer.identity, writer.provenance)
    table = read_part(store, manifest, part)
    labels = entry.source.labels[table.column("sample_id").to_numpy()]
    return int((logits_of(table).argmax(axis=1) == labels).sum())
