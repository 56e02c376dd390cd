"""models → costs: latency and joules of each model by batch size, on inputs resident on the device.

Models are warmed up until steady, then measured in windows whose order is shuffled anew in every
round, so that drift of clocks and temperature spreads over all of them. What is timed is what a
live batch costs: the forward pass, the copy of the logits to the host, and the scores.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from cache import QUICK, CostRow, InputError, now
from stages.energy import Idle, Meter, Reading, idle_of, per_image
from stages.runtimes import ModelRunner, device_name, engine_of, out_of_memory, synchroniser

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
WINDOWS, QUICK_WINDOWS = 5, 2
MIN_TICKS = 20
SENSOR_WINDOW_S, QUICK_SENSOR_WINDOW_S = 5.0, 1.0
# Without a sensor, all windows of a model together.
BLIND_WINDOW_S, BLIND_MODEL_S = 0.1, 2.0
WARM_UP_S, BLIND_WARM_UP_S = 1.0, 0.2
_STEADY = 0.05
_SEED = 7

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Subject:
    """A model to profile, and what is known of it. `runtime` is what its rows stand under, `shape`
    (C, h, w) of its input, and `weights_sha256` of the weights that are measured, as the manifests
    of its logits state it. `preprocess` decodes and resizes one image, where that is measured."""

    name: str
    runtime: str
    runner: ModelRunner
    shape: tuple[int, ...]
    macs: int | None
    parameters: int | None
    weights_sha256: str | None = None
    preprocess: Callable[[], object] | None = None


@dataclass
class UnitOfWork:
    """One unit of work, and of each of its windows the laps in ms and a reading per meter."""

    subject: Subject
    component: str
    images: int
    run: Callable[[], object]
    windows: list[tuple[list[float], list[Reading]]] = field(default_factory=list)
    peak_memory_bytes: int | None = None


def profile_models(
    subjects: Sequence[Subject],
    meters: Sequence[Meter],
    batch_sizes: Sequence[int] = BATCH_SIZES,
    quick: bool = False,
    progress: Progress = lambda done, total: None,
    plan: tuple[int, float] | None = None,
    idle: Sequence[Idle] | None = None,
) -> dict[str, list[CostRow]]:
    """Cost rows by model, of all its runtimes: `forward` by batch size, `preprocess` per image.

    Windows of all subjects alternate. The meters are read at their ends only, after the device is
    synchronised. `plan` gives the windows of a figure and their seconds, and `idle` idle power by
    meter, instead of what is done by default.
    """
    sync = synchroniser(subjects[0].runner.device)
    sighted = any(meter.sensor.source != "none" for meter in meters)
    work = [_forward(subject, size) for subject in subjects for size in batch_sizes]
    decoding = [
        UnitOfWork(each, "preprocess", 1, each.preprocess) for each in subjects if each.preprocess
    ]
    work += decoding
    for each in work:
        _prepare(each, WARM_UP_S if sighted else BLIND_WARM_UP_S)
    windows, seconds = plan or _plan(meters, quick, len(batch_sizes) + bool(decoding))
    if idle is None:
        idle = idle_of(meters, seconds, sync) if sighted else []
    shuffle, done = random.Random(_SEED), 0
    for _ in range(windows):
        for each in shuffle.sample(work, len(work)):
            _window(each, meters, idle, sync, seconds)
            done += 1
            progress(done, windows * len(work))
    rows: dict[str, list[CostRow]] = {subject.name: [] for subject in subjects}
    for each in work:
        found = [_row(each, i, quick) for i in range(len(meters))]
        rows[each.subject.name] += _cross_checked(found, meters)
    return rows


def _forward(subject: Subject, size: int) -> UnitOfWork:
    pixels = np.random.default_rng(_SEED).integers(0, 256, (size, *subject.shape), np.uint8)
    batch = subject.runner.upload(pixels)
    return UnitOfWork(subject, "forward", size, lambda: subject.runner.answers(batch))


def _prepare(each: UnitOfWork, most_s: float) -> None:
    """Warm up and take the peak of memory; InputError where the batch does not fit."""
    try:
        _warm_up(each.run, most_s)
        runner = each.subject.runner
        each.peak_memory_bytes = engine_of(runner.device).peak_memory(each.run, runner)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            f"a batch of {each.images} of {each.subject.name} does not fit into the device's "
            "memory: give smaller --batch-sizes, or fewer --models"
        ) from error


def _warm_up(call: Callable[[], object], most_s: float) -> None:
    """Until two medians of five laps agree within 5 %, `most_s` and a lap at most."""
    ends, previous = time.perf_counter() + most_s, math.inf
    laps = [_lap_ms(call)]
    while time.perf_counter() < ends:
        laps.append(_lap_ms(call))
        if len(laps) == 5:
            median = sorted(laps)[2]
            if abs(median - previous) <= _STEADY * median:
                return
            previous, laps = median, []


def _lap_ms(call: Callable[[], object]) -> float:
    begun = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - begun) / 1e6


def _plan(meters: Sequence[Meter], quick: bool, figures: int) -> tuple[int, float]:
    """How many windows for each of a model's figures, and their seconds."""
    windows, seconds = QUICK_WINDOWS if quick else WINDOWS, window_s(meters, quick)
    if any(meter.sensor.source != "none" for meter in meters):
        return windows, seconds
    windows = max(1, min(windows, int(BLIND_MODEL_S / seconds / figures)))
    return windows, min(seconds, BLIND_MODEL_S / windows / figures)


def window_s(meters: Sequence[Meter], quick: bool) -> float:
    """Long enough for the slowest sensor's ticks."""
    seen = [meter.sensor for meter in meters if meter.sensor.source != "none"]
    if not seen:
        return BLIND_WINDOW_S
    ticks = max(sensor.tick_s or 0.0 for sensor in seen) * MIN_TICKS
    return max(ticks * 1.05, QUICK_SENSOR_WINDOW_S if quick else SENSOR_WINDOW_S)


def _window(
    each: UnitOfWork,
    meters: Sequence[Meter],
    idle: Sequence[Idle],
    sync: Callable[[], None],
    seconds: float,
) -> None:
    laps: list[float] = []
    with ExitStack() as stack:
        windows = [
            stack.enter_context(meter.window(sync, idle[i] if idle else None))
            for i, meter in enumerate(meters)
        ]
        ends = time.perf_counter() + seconds
        while not laps or time.perf_counter() < ends:
            laps.append(_lap_ms(each.run))
    each.windows.append((laps, [window.reading for window in windows]))


def _row(each: UnitOfWork, meter: int, quick: bool) -> CostRow:
    """With joules per image over the windows, gross and above idle, and their 95 % intervals."""
    subject, laps = each.subject, np.concatenate([laps for laps, _ in each.windows])
    forward = each.component == "forward"
    p50, p95, p99 = map(float, np.percentile(laps, [50, 95, 99]))
    readings = [found[meter] for _, found in each.windows]
    images = [len(laps) * each.images for laps, _ in each.windows]
    gross, above = per_image(readings, images).values()
    ticks = [reading.ticks for reading in readings if reading.ticks is not None]
    warnings = sorted({warning for reading in readings for warning in reading.warnings})
    if quick:
        warnings.append(f"{QUICK} {len(readings)} windows")
    return CostRow(
        model=subject.name,
        runtime=subject.runtime,
        device=device_name(subject.runner.device),
        component=each.component,
        batch_size=each.images,
        meter=readings[0].sensor.source,
        latency_ms=float(laps.mean()),
        latency_sd_ms=float(laps.std(ddof=1)) if len(laps) > 1 else None,
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        runs=len(laps),
        energy_j=gross.value,
        energy_low_j=gross.low,
        energy_high_j=gross.high,
        energy_above_idle_j=above.value,
        energy_above_idle_low_j=above.low,
        energy_above_idle_high_j=above.high,
        idle_w=readings[0].idle_w,
        windows=len(readings),
        window_s=float(np.mean([reading.duration_s for reading in readings])),
        ticks=sum(ticks) if ticks else None,
        tick_s=readings[0].sensor.tick_s,
        scope=readings[0].sensor.scope,
        reason=next((r.reason for r in readings if r.energy_j is None), None),
        warnings="; ".join(warnings) or None,
        macs=subject.macs if forward else None,
        parameters=subject.parameters if forward else None,
        peak_memory_bytes=each.peak_memory_bytes,
        source="profile",
        measured=now(),
        weights_sha256=subject.weights_sha256,
    )


def _cross_checked(rows: Sequence[CostRow], meters: Sequence[Meter]) -> list[CostRow]:
    """Each energy beside that of the other sensor of the same device, where there is one."""
    checks = {
        i: other.energy_j
        for (i, meter), (j, other) in product(enumerate(meters), enumerate(rows))
        if i != j and meter.sensor.uuid and meter.sensor.uuid == meters[j].sensor.uuid
    }
    return [replace(row, energy_check_j=checks.get(i)) for i, row in enumerate(rows)]
