"""images → logits and timings: every model once over every image, each image decoded once.

Decoding runs ahead in threads, parts are encoded and written by another, and the logits of a part
stay on the device until the part is whole. A run that was interrupted goes on after its last whole
part; a model whose part is there already does not run on it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch

import cache
from cache import InputError, Manifest, Partition, PartitionWriter, Store
from cache.provenance import now, versions
from cache.schema import PART_ROWS, SAMPLES, TIMINGS, logits_schema
from stages.datasets import Source, fingerprint
from stages.inference import (
    DEFAULT_BATCH,
    Pictures,
    Runner,
    Stopwatch,
    device_name,
    runtime_name,
)
from stages.models import Chosen, load
from stages.prefetch import default_workers, prefetch
from stages.variants import View

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Options:
    """How to run; none of it changes which rows come out, only float noise and speed."""

    device: torch.device
    precision: str = "fp32"
    batch_size: int | None = None
    part_rows: int = PART_ROWS
    workers: int | None = None
    overwrite: bool = False
    variants: tuple[str, ...] = ("identity",)

    @property
    def batch(self) -> int:
        return self.batch_size or DEFAULT_BATCH.get(self.device.type, 64)

    @property
    def runtime(self) -> str:
        return runtime_name(self.device, self.precision)


@dataclass
class Job:
    """One model on one variant of a split: where its rows go and which parts are to be made."""

    chosen: Chosen
    view: View
    runner: Runner
    classes: int
    logits: PartitionWriter
    timings: PartitionWriter
    watch: Stopwatch
    resumed_rows: int = 0
    forward_ms: float = 0.0
    warm: bool = False
    buffer: torch.Tensor | None = None
    batches: list[tuple[int, int, bool]] = field(default_factory=list)

    def lacks(self, part: int) -> bool:
        if self.logits.complete:
            return False
        return part not in self.logits.done or part not in self.timings.done


def run(
    store: Store,
    sources: Sequence[Source],
    chosen: Sequence[Chosen],
    options: Options,
    progress: Progress = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Extract all models over all splits; one row per model and split (see DESIGN §6).

    InputError: labels beyond a model's classes, NaN logits, a cache that holds something else.
    """
    modules = {one.name: load(one.spec, one.weights) for one in chosen}
    rows = []
    for source in sources:
        _write_samples(store, source, options.overwrite)
        views = [
            (one, View(variant, one.spec.preprocessing))
            for one in chosen
            for variant in options.variants
        ]
        pictures = Pictures.of(source, {view for _, view in views})
        jobs = [_job(store, pictures, one, view, modules[one.name], options) for one, view in views]
        _extract_split(pictures, jobs, options, progress)
        rows += [_finish(store, source, job, options) for job in jobs]
    return rows


def _write_samples(store: Store, source: Source, overwrite: bool) -> Manifest:
    """The split's samples; InputError where the cache knows the split with other images."""
    if not len(source):
        raise InputError(f"{source.dataset}/{source.split} holds no images: check --data")
    partition = Partition.of("samples", dataset=source.dataset, split=source.split)
    columns = {
        "sample_id": np.arange(len(source)),
        "label": source.labels,
        "key": pa.array(list(source.keys), pa.string()),
    }
    identity = {"dataset_fingerprint": fingerprint(source)}
    provenance = {
        "made": now(),
        "versions": versions(),
        "layout": source.layout,
        "class_names": source.class_names,
    }
    table = pa.table(columns, schema=SAMPLES)
    return cache.write_partition(store, partition, table, identity, provenance, overwrite)


def _job(
    store: Store,
    pictures: Pictures,
    chosen: Chosen,
    view: View,
    module: torch.nn.Module,
    options: Options,
) -> Job:
    source = pictures.source
    runner = Runner.of(module, chosen.spec.preprocessing, options.device, options.precision)
    classes = _classes(runner, pictures.batch(0, 1)[view])
    if source.labels.max() >= classes:
        raise InputError(
            f"{source.dataset}/{source.split} has label {source.labels.max()} but the weights of "
            f"{chosen.name} know {classes} classes: give weights trained for this dataset"
        )
    keys = {"dataset": source.dataset, "split": source.split, "variant": view.variant}
    keys |= {"runtime": options.runtime, "model": chosen.name}
    identity = {
        "dataset_fingerprint": fingerprint(source),
        "architecture": chosen.spec.name,
        "weights_sha256": chosen.weights.sha256,
        "preprocessing": chosen.spec.preprocessing.describe(),
        "classes": classes,
    }
    made_with = {
        "batch_size": options.batch,
        "device": device_name(options.device),
        "part_rows": options.part_rows,
    }
    provenance = _provenance(chosen, options, made_with)

    def writer(table: str, schema: pa.Schema, overwrite: bool) -> PartitionWriter:
        partition = Partition.of(table, **keys)
        return PartitionWriter(store, partition, schema, identity, provenance, made_with, overwrite)

    logits = writer("logits", logits_schema(classes), options.overwrite)
    timings = writer("timings", TIMINGS, True)
    if not (logits.complete and timings.complete):  # the rows of both come from one forward pass
        logits.reopen()
        timings.reopen()
    job = Job(chosen, view, runner, classes, logits, timings, Stopwatch(options.device))
    parts = enumerate(logits.complete.parts) if logits.complete else logits.done.items()
    job.resumed_rows = sum(part.rows for index, part in parts if not job.lacks(index))
    return job


def _classes(runner: Runner, pixels: np.ndarray) -> int:
    """The length of a logits row, from a forward pass that also proves that the shapes fit."""
    try:
        return runner.logits(runner.upload(pixels)).shape[1]
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the model cannot take images of shape {pixels.shape[1:]}: {reason}"
        ) from error


def _provenance(chosen: Chosen, options: Options, made_with: dict[str, Any]) -> dict[str, Any]:
    spec, weights = chosen.spec, chosen.weights
    return {
        "made": now(),
        "versions": versions(),
        "precision": options.precision,
        **made_with,
        "weights_origin": weights.origin,
        "weights_sha256": weights.sha256,
        "trained_on": {"splits": list(weights.trained_on), "source": weights.trained_on_source},
        "parameters": spec.parameters,
        "macs": spec.macs,
    }


@dataclass(frozen=True)
class _Batch:
    """Rows [start, stop) of the split, and their pixels by view."""

    part: int
    start: int
    stop: int
    pixels: dict[View, np.ndarray]


def _extract_split(
    pictures: Pictures, jobs: Sequence[Job], options: Options, progress: Progress
) -> None:
    source = pictures.source
    n, rows = len(source), min(options.part_rows, len(source))
    parts = [p for p in range(-(-n // rows)) if any(job.lacks(p) for job in jobs)]
    total = sum(min(rows, n - p * rows) for p in parts)
    done = 0
    with ThreadPoolExecutor(1, thread_name_prefix="writer") as pool:
        written: list[Future[None]] = []
        for batch in _batches(pictures, jobs, parts, options):
            _forward(batch, [job for job in jobs if job.lacks(batch.part)], rows)
            done += batch.stop - batch.start
            progress(done, total)
            if batch.stop == min((batch.part + 1) * rows, n):
                _await(written)
                written = [pool.submit(write) for write in _part_writes(source, jobs, batch, rows)]
        _await(written)


def _await(futures: list[Future[None]]) -> None:
    for future in futures:
        future.result()


def _batches(
    pictures: Pictures, jobs: Sequence[Job], parts: Sequence[int], options: Options
) -> Iterator[_Batch]:
    """Decoded batches of the parts in order; a batch never crosses the end of a part."""
    n = len(pictures.source)
    views = {job.view for job in jobs if not job.logits.complete}
    wanted = replace(pictures, shapes={view: pictures.shapes[view] for view in views})
    spans = [
        (part, start, min(start + options.batch, (part + 1) * options.part_rows, n))
        for part in parts
        for start in range(
            part * options.part_rows,
            min((part + 1) * options.part_rows, n),
            options.batch,
        )
    ]

    def decode(span: tuple[int, int, int]) -> _Batch:
        part, start, stop = span
        return _Batch(part, start, stop, wanted.batch(start, stop))

    return prefetch(decode, spans, options.workers or default_workers())


def _forward(batch: _Batch, jobs: Sequence[Job], part_rows: int) -> None:
    inputs: dict[View, torch.Tensor] = {}
    at = batch.start - batch.part * part_rows
    size = batch.stop - batch.start
    for job in jobs:
        if job.view not in inputs:
            inputs[job.view] = job.runner.upload(batch.pixels[job.view])
        if job.buffer is None:
            job.buffer = torch.empty((part_rows, job.classes), device=job.runner.device)
        job.watch.start()
        logits = job.runner.logits(inputs[job.view])
        job.watch.stop()
        job.buffer[at : at + size] = logits
        job.batches.append((batch.start, size, job.warm))
        job.warm = True


def _part_writes(
    source: Source, jobs: Sequence[Job], last: _Batch, part_rows: int
) -> Iterator[Callable[[], None]]:
    """What is left to do for a part whose last batch has run, as calls for the writer thread."""
    first = last.part * part_rows
    for job in jobs:
        if not job.lacks(last.part) or job.buffer is None:
            continue
        laps = job.watch.read()
        logits = job.buffer[: last.stop - first].cpu().numpy()
        _check_finite(logits, first, source, job)
        job.forward_ms += sum(laps)
        tables = _tables(logits, first, job.batches, laps)
        job.buffer, job.batches = None, []
        yield partial(_write_part, job, last.part, *tables)


def _tables(
    logits: np.ndarray, first: int, batches: list[tuple[int, int, bool]], laps: list[float]
) -> tuple[pa.Table, pa.Table]:
    n, classes = logits.shape
    ids = np.arange(first, first + n)
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(logits.reshape(-1)), type=logits_schema(classes).field("logits").type
    )
    starts, sizes, warm = zip(*batches, strict=True)
    return (
        pa.table([ids, column], schema=logits_schema(classes)),
        pa.table([starts, sizes, laps, warm], schema=TIMINGS),
    )


def _write_part(job: Job, part: int, logits: pa.Table, timings: pa.Table) -> None:
    job.timings.write(part, timings)
    job.logits.write(part, logits)


def _check_finite(logits: np.ndarray, first: int, source: Source, job: Job) -> None:
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{job.chosen.name} gives a NaN or infinite logit on {source.dataset}/{source.split} "
            f"sample {first + int(finite.argmin())}: check its weights, or use --precision fp32"
        )


def _finish(store: Store, source: Source, job: Job, options: Options) -> dict[str, Any]:
    """Publish what is not published yet, read it back, and sum up."""
    if not job.logits.complete:
        count = -(-len(source) // options.part_rows)
        job.timings.finish(count)
        job.logits.finish(count)
    job.logits.restate("trained_on")
    manifest = job.logits.complete
    if manifest is None:
        raise RuntimeError(f"{job.logits.partition} was not published")
    right = sum(
        int((logits.argmax(axis=1) == source.labels[ids]).sum())
        for ids, logits in cache.iter_logits(store, manifest)
    )
    seconds = job.forward_ms / 1e3
    fresh = manifest.rows - job.resumed_rows
    return {
        "model": job.chosen.name,
        "split": source.split,
        "variant": job.view.variant,
        "runtime": options.runtime,
        "rows": manifest.rows,
        "resumed_rows": job.resumed_rows,
        "forward_seconds": seconds,
        "images_per_second": fresh / seconds if seconds else None,
        "accuracy": right / manifest.rows,
    }
