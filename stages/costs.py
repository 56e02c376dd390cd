"""What a model costs: the costs table, read as curves over the batch size.

A curve gives the cost of one *batch* of b images, so that a sub-batch of the images that B sees is
priced as it would run. Between measured sizes it is linear; above the largest, per image as there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Manifest, Partition, Store
from cache.errors import one_of
from cache.provenance import digest, now, versions
from cache.schema import COSTS

# What a row costs per batch, by kind; joules are gross, as drawn at saturation.
UNITS = {"joules": "J", "latency": "ms", "macs": "multiply-adds"}
KINDS = tuple(UNITS)
# From least to most trusted for what a model itself draws; others count as the first.
_METERS = ("none", "manual", "rapl", "ina3221", "nvml_power", "nvml_counter")
KEY = ("device", "component", "batch_size", "meter", "source")

Row = dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """Cost of one batch by its size: `sizes` ascending int [S], `values`, `low`, `high` [S]."""

    sizes: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def at(self, sizes: np.ndarray | int, bound: str = "values") -> np.ndarray:
        """Cost of batches of these sizes; an empty batch costs nothing."""
        known = np.concatenate(([0.0], getattr(self, bound)))
        points = np.concatenate(([0], self.sizes))
        sizes = np.asarray(sizes)
        inside = np.interp(sizes, points, known)
        return np.where(sizes > points[-1], sizes * (known[-1] / points[-1]), inside)


def merge(store: Store, dataset: str, runtime: str, model: str, rows: Iterable[Row]) -> Manifest:
    """Add rows to a model's costs; a row of the same KEY is replaced, others stay."""
    partition = Partition.of("costs", dataset=dataset, runtime=runtime, model=model)
    known = {_key(row): row for row in _rows(store, partition)}
    known |= {_key(row): row for row in rows}
    ordered = [known[key] for key in sorted(known)]
    table = pa.Table.from_pylist(
        [{name: row.get(name) for name in COSTS.names} for row in ordered], schema=COSTS
    )
    about = {"made": now(), "versions": versions()}
    return cache.write_partition(store, partition, table, {"rows": digest(ordered)}, about)


def read(store: Store, dataset: str, models: Sequence[str]) -> dict[str, list[Row]]:
    """Every cost row of each model, with its `runtime`; an empty list where none is known."""
    found: dict[str, list[Row]] = {model: [] for model in models}
    for manifest in cache.find(store, "costs", dataset):
        keys = manifest.partition.keys
        if keys["model"] in found:
            rows = cache.read_table(store, manifest).to_pylist()
            found[keys["model"]] += [row | {"runtime": keys["runtime"]} for row in rows]
    return found


def _rows(store: Store, partition: Partition) -> list[Row]:
    manifest = cache.load(store, partition)
    return [] if manifest is None else cache.read_table(store, manifest).to_pylist()


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


@dataclass(frozen=True)
class Prices:
    """The curves that a question is answered with, and why these.

    `forward` by model; `preprocess` by model, per image, or empty; `batch_size` is the size that a
    single figure per model refers to. `idle_w` is the device's, where a sensor told it.
    """

    kind: str
    unit: str
    device: str | None
    why: str
    forward: dict[str, Curve]
    preprocess: dict[str, Curve]
    latency: dict[str, Curve]
    idle_w: float | None

    def model(self, name: str, batch_size: int = 1) -> float:
        """Cost per image of a model alone, at this batch size."""
        return float(self.forward[name].at(batch_size)) / batch_size


def known(
    rows: dict[str, list[Row]],
    macs: dict[str, int | None],
    required: Sequence[str],
    kinds: Sequence[str] = KINDS,
    device: str | None = None,
) -> Iterator[Prices]:
    """Whatever all `required` models can be priced with, kind by kind, device by device."""
    devices = sorted({row["device"] for model in required for row in rows[model]})
    measured = devices if device is None else [device]
    for kind in kinds:
        for place in [None] if kind == "macs" else measured:
            found = _prices(kind, place, rows, macs, required)
            if found is not None:
                yield found


def choose(
    rows: dict[str, list[Row]],
    macs: dict[str, int | None],
    required: Sequence[str],
    kind: str | None = None,
    device: str | None = None,
) -> Prices | None:
    """The best costs that all `required` models have on one device: joules, latency, else macs.

    Curves of other models come along where they are known. A kind or device that is asked for and
    not there for all of them is an InputError; None where nothing is known and nothing was asked.
    """
    if kind is not None and kind not in KINDS:
        raise one_of("cost", kind, KINDS)
    devices = sorted({row["device"] for model in required for row in rows[model]})
    if device is not None and device not in devices:
        raise one_of("cost device", device, devices)
    wanted = KINDS if kind is None else (kind,)
    found = next(known(rows, macs, required, wanted, device), None)
    if found is not None:
        return found
    if kind is None and device is None:
        return None
    lacking = [model for model in required if not rows[model]]
    raise InputError(
        f"no {kind or 'costs'} of all these models on one device"
        + (f" (none at all of {', '.join(lacking)})" if lacking else "")
        + ": run `cascade profile`, `cascade import-costs`, or give --cost macs"
    )


_COLUMNS = {
    "joules": ("energy_j", "energy_low_j", "energy_high_j"),
    "latency": ("latency_ms", "latency_ms", "latency_ms"),
}


def _prices(
    kind: str,
    device: str | None,
    rows: dict[str, list[Row]],
    macs: dict[str, int | None],
    required: Sequence[str],
) -> Prices | None:
    if kind == "macs":
        flat = {model: None if count is None else _flat(count) for model, count in macs.items()}
        forward, why = _present(flat), "multiply-adds, for want of costs measured on one device"
        here: dict[str, list[Row]] = {}
    else:
        here = {
            model: [row for row in found if row["device"] == device]
            for model, found in rows.items()
        }
        forward, why = _curves(here, kind, "forward"), f"{kind} of all models on {device}"
    if not set(required) <= forward.keys():
        return None
    preprocess, latency = _curves(here, kind, "preprocess"), _curves(here, "latency", "forward")
    idle = [row["idle_w"] for found in here.values() for row in found if row["idle_w"] is not None]
    idle_w = float(np.median(idle)) if idle else None
    return Prices(kind, UNITS[kind], device, why, forward, preprocess, latency, idle_w)


def _curves(rows: dict[str, list[Row]], kind: str, component: str) -> dict[str, Curve]:
    return _present({model: _curve(found, kind, component) for model, found in rows.items()})


def _curve(rows: Sequence[Row], kind: str, component: str) -> Curve | None:
    """From rows of one device: the best meter's newest of each batch size, cost per batch."""
    columns = _COLUMNS[kind]
    known: dict[int, Row] = {}
    for row in sorted(rows, key=_trust):
        if row["component"] == component and row[columns[0]] is not None:
            known[row["batch_size"]] = row
    if not known:
        return None
    sizes = np.array(sorted(known))
    scale = sizes if kind == "joules" else np.ones(len(sizes))
    values, low, high = (
        np.array([_or(known[size][name], known[size][columns[0]]) for size in sizes]) * scale
        for name in columns
    )
    return Curve(sizes, values, low, high)


def _trust(row: Row) -> tuple[int, str]:
    rank = _METERS.index(row["meter"]) if row["meter"] in _METERS else 0
    return rank, row["measured"] or ""


def _flat(per_image: float) -> Curve:
    """A cost that does not depend on the batch."""
    one = np.array([per_image])
    return Curve(np.array([1]), one, one, one)


def _present(curves: dict[str, Curve | None]) -> dict[str, Curve]:
    return {model: curve for model, curve in curves.items() if curve is not None}


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
