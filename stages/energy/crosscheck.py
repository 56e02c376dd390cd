"""Our joules beside those of the zeus library, over one window (extra `[zeus]`)."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.energy.machine import Machine
from stages.energy.meter import Meter, NoMeter, nothing
from stages.energy.opening import open_meters

SECONDS = 6.0
INSTALL = "pip install 'cascade-cli[zeus]'"


@dataclass(frozen=True)
class SensorComparison:
    """Joules of one busy window by our meter and by zeus's, and `difference`, a fraction of zeus's.

    None where a side does not tell, with the `reason` where ours does not.
    """

    device: str
    source: str
    seconds: float
    energy_j: float | None
    interval_j: tuple[float, float] | None
    zeus_j: float | None
    difference: float | None
    reason: str | None


@dataclass(frozen=True)
class SkippedComparison:
    """Why nothing was compared."""

    device: str
    skipped: str | None


def cross_check(
    device: str = "cpu", seconds: float = SECONDS, machine: Machine | None = None
) -> SensorComparison | SkippedComparison:
    """Joules of one busy window on cpu or cuda:N, by our meter and by zeus's."""
    try:
        from zeus.exception import ZeusBaseError
        from zeus.monitor import ZeusMonitor
    except ImportError:
        return SkippedComparison(device, f"zeus is not installed: {INSTALL}")
    meter = open_meters([device], machine=machine)[0]
    if isinstance(meter, NoMeter):
        return SkippedComparison(device, meter.reason)
    gpus = [] if device == "cpu" else [int(device.partition(":")[2] or 0)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it greets on stdout
            monitor = ZeusMonitor(gpu_indices=gpus)
        return _compared(meter, monitor, gpus, device, seconds)
    except (ZeusBaseError, RuntimeError, ValueError, OSError) as error:
        return SkippedComparison(device, f"zeus failed: {' '.join(str(error).split())}")
    finally:
        meter.close()


def _compared(
    meter: Meter, monitor: Any, gpus: list[int], device: str, seconds: float
) -> SensorComparison:
    work, sync = _load(device)
    work()
    sync()
    monitor.begin_window("cross-check", sync_execution=False)
    with meter.window(sync) as window:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            work()
            sync()
    theirs = monitor.end_window("cross-check", sync_execution=False)
    kinds = [theirs.gpu_energy] if gpus else [theirs.cpu_energy, theirs.dram_energy]
    per_part = [joules for kind in kinds for joules in (kind or {}).values()]
    zeus = float(sum(per_part)) if per_part else None
    ours = window.reading
    difference = ours.energy_j / zeus - 1 if ours.energy_j and zeus else None
    joules = (ours.energy_j, ours.interval_j, zeus)
    about = (device, meter.sensor.source, ours.duration_s)
    return SensorComparison(*about, *joules, difference, ours.reason)


def _load(device: str) -> tuple[Callable[[], object], Callable[[], None]]:
    """Work that keeps the device busy for milliseconds, and its synchronisation."""
    if device == "cpu":
        import numpy as np

        matrix = np.ones((512, 512), np.float32)
        return (lambda: matrix @ matrix), nothing
    import torch

    batch = torch.ones(4096, 4096, device=device)
    return (lambda: batch @ batch), lambda: torch.cuda.synchronize(device)
