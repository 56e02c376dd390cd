"""What is there of a partition already, and which parts lack: where a killed run goes on.

Which parts have survived `cache.PartitionWriter` tells, by their receipts.
"""

from __future__ import annotations

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
    now,
    versions,
    withdraw,
)
from stages.datasets import Source, fingerprint
from stages.extract import classes, unusable_parts
from stages.extract.digests import PICTURES
from stages.extract.options import Options
from stages.extract.samples import SplitDigest
from stages.extract.work import Made, Task
from stages.extract.worker import Loaded
from stages.models import Chosen, code_of, sizes
from stages.runtimes import View, engine_of

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


def resumed(
    store: Store,
    split: int,
    seen: SplitDigest,
    chosen: Chosen,
    partition: Partition,
    options: Options,
    loaded: Loaded,
) -> ExtractEntry:
    """With the whole parts that a run before has left, where they are of the same."""
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
        count = classes.seen(source, split, chosen, view, loaded, options)
    identity["classes"] = count
    classes.check(source, chosen.name, count)
    batch = options.batch(chosen.spec.preprocessing)
    made_with: Provenance = {"batch_size": batch, "part_rows": options.part_rows}
    made_with |= {PICTURES: seen.digest} if seen.replaced else {}
    provenance = _provenance(source, chosen, count, options) | made_with
    provenance[PICTURES] = seen.digest
    if _is_of_other_pictures(store, before, seen, options.overwrite):
        for table in _TABLES:  # all rows are made again
            withdraw(store, Partition(table, partition.values))
        before = None
    about = (identity, provenance, made_with)
    parts = frozenset[int]()
    task = Task(
        split, chosen, view, count, partition.values, *about, parts, options.precision, batch
    )
    logits, timings = (_writer(store, task, table, options) for table in _TABLES)
    if not (logits.complete and timings.complete):  # the rows of both come from one forward pass
        logits.reopen()
        timings.reopen()
    if not logits.complete:
        unusable_parts.check(logits, before, options.overwrite, options.note)
    parts = frozenset() if logits.complete else _lacking(len(source), logits, timings, options)
    there = logits.complete.parts if logits.complete else both(logits, timings)
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


def both(logits: PartitionWriter, timings: PartitionWriter) -> list[Part]:
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
    settings = engine_of(options.device).settings(options.device)
    settings |= {"export": weights.exported.about} if weights.exported else {}
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
        **({"settings": settings} if settings else {}),
    }
