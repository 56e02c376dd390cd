"""What a hash costs, beside the device that models run on; which needs PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from cache import CostRow, Store
from cascade_cli.inputs.images import open_sources
from cascade_cli.options.images import ImageOptions
from cascade_cli.show.text import progress, say
from stages import hashes as stage
from stages.energy import open_meters
from stages.hashes import hash_of
from stages.runtimes import open_device


def measure_hashes(
    store: Store, dataset: str, split: str, algorithms: Sequence[str], images: ImageOptions
) -> list[CostRow]:
    """Measure those that have no costs beside the device; rows as `stages.hashes.costs` gives."""
    device = open_device(images.device)
    new = stage.unmeasured(store, dataset, [hash_of(name) for name in algorithms], device)
    if not new:
        return []
    [source] = open_sources(store, dataset, [split], images)
    meters = open_meters(["cpu"])
    try:
        with progress("measuring hashes") as tell:
            rows = stage.measure_costs(store, source, new, device, meters, tell)
    finally:
        for meter in meters:
            meter.close()
    for row in rows:
        say(f"{row.model.removeprefix('hash:')}: {1e3 * (row.latency_ms or 0):.0f} µs an image")
    return rows
