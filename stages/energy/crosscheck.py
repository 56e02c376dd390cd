"""Our joules beside those of the zeus library, over one window (extra `[zeus]`)."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

from stages.energy.machine import Machine
from stages.energy.meter import Meter, NoMeter, nothing
from stages.energy.opening import open_meters

SECONDS = 6.0
INSTALL = "pip install 'cascade-cli[zeus]'"


def cross_check(
    device: str = "cpu", seconds: float = SECONDS, machine: Machine | None = None
) -> dict[str, Any]:
    """Joules of one busy window on cpu or cuda:N, by our meter and by zeus's.

    {device, source, seconds, energy_j, interval_j, zeus_j, difference}, the last a fraction of
    zeus's; or {skipped: reason}.
    """
    try:
        from zeus.exception import ZeusBaseError
        from zeus.monitor import ZeusMonitor
    except ImportError:
        return {"device": device, "skipped": f"zeus is not installed: {INSTALL}"}
    meter = open_meters([device], machine=machine)[0]
    if isinstance(meter, NoMeter):
        return {"device": device, "skipped": meter.reason}
    gpus = [] if device == "cpu" else [int(device.partition(":")[2] or 0)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it greets on stdout
            monitor = ZeusMonitor(gpu_indices=gpus)
        return {"device": device} | _compared(meter, monitor, gpus, device, seconds)
    except (ZeusBaseError, RuntimeError, ValueError, OSError) as error:
        return {"device": device, "skipped": f"zeus failed: {' '.join(str(error).split())}"}
    finally:
        meter.close()


def _compared(
    meter: Meter, monitor: Any, gpus: list[int], device: str, seconds: float
) -> dict[str, Any]:
    with _load(device) as (work, sync):
        work()
        sync()
        monitor.begin_window("cross-check", sync_execution=False)
        with meter.window(sync) as window:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                work()
                sync()
        theirs = monitor.end_window("cross-check", sync_execution=False)
    per_part = theirs.gpu_energy if gpus else (theirs.cpu_energy or {}) | _dram(theirs)
    zeus = float(sum(per_part.values())) if per_part else None
    ours = window.reading.energy_j
    known = ours is not None and zeus
    return {
        "source": meter.sensor.source,
        "seconds": window.reading.duration_s,
        "energy_j": ours,
        "interval_j": window.reading.interval_j,
        "zeus_j": zeus,
        "difference": (ours / zeus - 1) if known and ours and zeus else None,
        "reason": window.reading.reason,
    }


def _dram(theirs: Any) -> dict[Any, float]:
    return {("dram", part): joules for part, joules in (theirs.dram_energy or {}).items()}


@contextlib.contextmanager
def _load(device: str) -> Iterator[tuple[Callable[[], object], Callable[[], None]]]:
    """Work that keeps the device busy for milliseconds, and its synchronisation."""
    if device == "cpu":
        import numpy as np

        matrix = np.ones((512, 512), np.float32)
        yield (lambda: matrix @ matrix), nothing
        return
    import torch

    batch = torch.ones(4096, 4096, device=device)
    yield (lambda: batch @ batch), lambda: torch.cuda.synchronize(device)
