"""A row of the costs table: what one device measured of one model, or of a hash."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pyarrow as pa

Int32 = int  # in the table, 32 bits wide
_KINDS = {"str": pa.string(), "int": pa.int64(), "Int32": pa.int32(), "float": pa.float64()}
QUICK = "quick:"  # in the warnings of costs that were measured in short windows


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """The model and runtime whose partition it stands in, and the columns of the table, in their
    order and type; those that may be None are nullable, and null where unknown, never 0."""

    model: str  # a hash's is `hash:` and its name
    runtime: str
    device: str
    component: str  # forward, preprocess or hash
    batch_size: Int32
    meter: str  # the sensor's source, `none` without one
    # Of one batch, from the resident input to the answers on the host.
    latency_ms: float | None = None
    latency_sd_ms: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    runs: int | None = None
    # Of one image, with 95 % intervals; null where unknown, and `reason` says why.
    energy_j: float | None = None
    energy_low_j: float | None = None
    energy_high_j: float | None = None
    energy_above_idle_j: float | None = None
    energy_above_idle_low_j: float | None = None
    energy_above_idle_high_j: float | None = None
    idle_w: float | None = None
    energy_check_j: float | None = None  # the same by a second sensor of the device
    windows: Int32 | None = None
    window_s: float | None = None
    ticks: int | None = None
    tick_s: float | None = None
    scope: str | None = None
    reason: str | None = None
    warnings: str | None = None
    macs: int | None = None
    parameters: int | None = None
    peak_memory_bytes: int | None = None
    source: str  # `profile`, or who measured it elsewhere
    measured: str | None = None  # when, ISO 8601
    weights_sha256: str | None = None  # of the model that was measured; null if unknown


# A field's kind as it is written above, and whether it may be None.
_FIELDS = {field.name: str(field.type).partition(" | ") for field in fields(CostRow)}
COSTS = pa.schema(
    [pa.field(name, _KINDS[kind], bool(none)) for name, (kind, _, none) in _FIELDS.items()][2:]
)
