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
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from cache.provenance import now
from stages.energy.meter import Idle, Meter, Reading
from stages.inference import Runner, device_name, synchroniser

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
WINDOWS, QUICK_WINDOWS = 5, 2
MIN_TICKS = 20
SENSOR_WINDOW_S, QUICK_SENSOR_WINDOW_S = 5.0, 1.0
# Without a sensor, all windows of a model together.
BLIND_WINDOW_S, BLIND_MODEL_S = 0.1, 2.0
_STEADY = 0.05
# Two-sided 95 % quantiles of Student's t for 1, 2, … degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_NORMAL = 1.959964
_SEED = 7

Row = dict[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Subject:
    """A model to profile, and what is known of it. `shape` is (C, h, w) of its input."""

    name: str
    runner: Runner
    shape: tuple[int, ...]
    macs: int | None
    parameters: int | None


@dataclass
class Measured:
    """One unit of work: its laps in ms and its windows' readings, a list per meter."""

    label: tuple[str, str, int]
    run: Callable[[], object]
    images: int
    laps_ms: list[float] = field(default_factory=list)
    window_laps: list[int] = field(default_factory=list)
    readings: list[list[Reading]] = field(default_factory=list)
    peak_memory_bytes: int | None = None


def run(
    subjects: Sequence[Subject],
    meters: Sequence[Meter],
    batch_sizes: Sequence[int] = BATCH_SIZES,
    preprocess: dict[str, Callable[[], object]] | None = None,
    quick: bool = False,
    progress: Progress = lambda done, total: None,
) -> dict[str, list[Row]]:
    """Cost rows (cache.schema.COSTS) by model: `forward` by batch size, `preprocess` per image.

    `preprocess` holds, by model, a call that decodes and resizes one image. The meters are read at
    the ends of each window only, after the device is synchronised.
    """
    device = subjects[0].runner.device
    work = [_forward(subject, size) for subject in subjects for size in batch_sizes]
    work += [
        Measured((name, "preprocess", 1), call, 1) for name, call in (preprocess or {}).items()
    ]
    for each in work:
        _warm_up(each.run)
        each.peak_memory_bytes = _peak_memory(each.run, device)
    sync = synchroniser(device)
    sighted = any(meter.sensor.source != "none" for meter in meters)
    seconds = window_s(meters, quick)
    idle = [meter.measure_idle(seconds, sync) for meter in meters] if sighted else []
    windows = QUICK_WINDOWS if quick else WINDOWS
    if not sighted:
        windows = min(windows, int(BLIND_MODEL_S / BLIND_WINDOW_S / (len(batch_sizes) + 1)) or 1)
    shuffle, done = random.Random(_SEED), 0
    for _ in range(windows):
        for each in shuffle.sample(work, len(work)):
            _window(each, meters, idle, sync, seconds)
            done += 1
            progress(done, windows * len(work))
    by_name = {subject.name: subject for subject in subjects}
    rows: dict[str, list[Row]] = {subject.name: [] for subject in subjects}
    for each in work:
        rows[each.label[0]] += _rows(each, by_name[each.label[0]], meters, idle, quick)
    return rows


def _forward(subject: Subject, size: int) -> Measured:
    pixels = np.random.default_rng(_SEED).integers(0, 256, (size, *subject.shape), np.uint8)
    batch = subject.runner.upload(pixels)
    return Measured((subject.name, "forward", size), lambda: subject.runner.answers(batch), size)


def _warm_up(call: Callable[[], object], most_s: float = 1.0) -> None:
    """Until two medians of five laps agree within 5 %, a second at most."""
    begun, previous = time.perf_counter(), math.inf
    while time.perf_counter() - begun < most_s:
        laps = [_lap_ms(call) for _ in range(5)]
        median = sorted(laps)[2]
        if abs(median - previous) <= _STEADY * median:
            return
        previous = median


def _lap_ms(call: Callable[[], object]) -> float:
    begun = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - begun) / 1e6


def _peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """Bytes allocated on a CUDA device while the call runs; unknown elsewhere."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return torch.cuda.max_memory_allocated(device)


def window_s(meters: Sequence[Meter], quick: bool) -> float:
    """Long enough for the slowest sensor's ticks."""
    seen = [meter.sensor for meter in meters if meter.sensor.source != "none"]
    if not seen:
        return BLIND_WINDOW_S
    ticks = max(sensor.tick_s or 0.0 for sensor in seen) * MIN_TICKS
    return max(ticks * 1.05, QUICK_SENSOR_WINDOW_S if quick else SENSOR_WINDOW_S)


def _window(
    each: Measured,
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
    each.laps_ms += laps
    each.window_laps.append(len(laps))
    each.readings.append([window.reading for window in windows])


def _rows(
    each: Measured, subject: Subject, meters: Sequence[Meter], idle: Sequence[Idle], quick: bool
) -> list[Row]:
    """One row per meter."""
    _, component, size = each.label
    laps = np.array(each.laps_ms)
    p50, p95, p99 = np.percentile(laps, [50, 95, 99])
    common = {
        "device": device_name(subject.runner.device),
        "component": component,
        "batch_size": size,
        "latency_ms": float(laps.mean()),
        "latency_sd_ms": float(laps.std(ddof=1)) if len(laps) > 1 else None,
        "latency_p50_ms": float(p50),
        "latency_p95_ms": float(p95),
        "latency_p99_ms": float(p99),
        "runs": len(laps),
        "macs": subject.macs if component == "forward" else None,
        "parameters": subject.parameters if component == "forward" else None,
        "peak_memory_bytes": each.peak_memory_bytes,
        "source": "profile",
        "measured": now(),
    }
    images = [count * each.images for count in each.window_laps]
    rows = [
        common | _energy([window[i] for window in each.readings], images, quick)
        for i in range(len(meters))
    ]
    _cross_check(rows, meters)
    return rows


def _cross_check(rows: Sequence[Row], meters: Sequence[Meter]) -> None:
    """Hold each energy against that of the other sensor of the same device, where there is one."""
    for row, meter in zip(rows, meters, strict=True):
        for other, beside in zip(rows, meters, strict=True):
            if other is not row and meter.sensor.uuid and meter.sensor.uuid == beside.sensor.uuid:
                row["energy_check_j"] = other["energy_j"]


def _energy(readings: Sequence[Reading], images: Sequence[int], quick: bool) -> Row:
    """Joules per image over the windows, gross and above idle, with 95 % intervals."""
    first = readings[0]
    warnings = sorted({warning for reading in readings for warning in reading.warnings})
    if quick:
        warnings.append(f"quick: {len(readings)} windows")
    row: Row = {
        "meter": first.sensor.source,
        "scope": first.sensor.scope,
        "tick_s": first.sensor.tick_s,
        "windows": len(readings),
        "window_s": float(np.mean([reading.duration_s for reading in readings])),
        "ticks": _total([reading.ticks for reading in readings]),
        "idle_w": first.idle_w,
        "warnings": "; ".join(warnings) or None,
        "reason": next((r.reason for r in readings if r.energy_j is None), None),
    }
    columns = {
        "energy": [(reading.energy_j, reading.sd_j) for reading in readings],
        "energy_above_idle": [
            (reading.above_idle_j, reading.above_idle_sd_j) for reading in readings
        ],
    }
    for column, pairs in columns.items():
        errors = [(sd or 0.0) / count for (_, sd), count in zip(pairs, images, strict=True)]
        values = [value for value, _ in pairs]
        per_image = [
            value / count for value, count in zip(values, images, strict=True) if value is not None
        ]
        known = len(per_image) == len(readings)
        mean, half = mean_interval(per_image, errors) if known else (None, None)
        row[f"{column}_j"] = mean
        row[f"{column}_low_j"] = None if mean is None or half is None else mean - half
        row[f"{column}_high_j"] = None if mean is None or half is None else mean + half
    return row


def mean_interval(values: Sequence[float], errors: Sequence[float]) -> tuple[float, float | None]:
    """Mean and 95 % half-width of values [n] that each carry an error (SD) of their own.

    The spread between windows (Student's t) already holds what varies from window to window; the
    sensor's own error is added, as it would not show between windows of equal phase.
    """
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return mean, None
    variance = float(np.var(values, ddof=1)) + float(np.mean(np.square(errors)))
    return mean, _quantile(n - 1) * math.sqrt(variance / n)


def _quantile(freedom: int) -> float:
    """Student's t at 97.5 %: tabulated, then its expansion in 1/ν (Abramowitz & Stegun 26.7.5)."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = _NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
