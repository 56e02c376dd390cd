"""What a model costs: the costs table, read as curves over the batch size.

A curve gives the cost of one *batch* of b images, so that a sub-batch of the images that B sees is
priced as it would run. Between measured sizes it is linear; below the smallest and above the
largest, per image as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, repeat
from math import sqrt
from operator import attrgetter

import numpy as np
import pyarrow as pa

import cache
from cache import COSTS, QUICK, CostRow, InputError, Manifest, Partition, Store, one_of
from cache.upkeep import Going, remove
from stages.scores import ScoreSet
from stages.statistics import NORMAL

# What a row costs per batch, by kind; joules are gross, as drawn at saturation.
UNITS = {"joules": "J", "latency": "ms", "macs": "multiply-adds"}
KINDS = tuple(UNITS)
# How a Prices.why tells that these are summed request by request.
OF_EACH_REQUEST = " of each request"
MEASURED = {"joules": "energy_j", "latency": "latency_ms"}  # the kinds that rows have, and where
# From least to most trusted; any other was brought in on purpose and comes before all of these.
_METERS = ("none", "rapl", "ina3221", "nvml_power", "nvml_counter", "manual")
KEY = ("device", "component", "batch_size", "meter", "source")

_key = attrgetter(*KEY)

Macs = Mapping[str, int | None]
Place = tuple[str, str | None, str | None]  # device, runtime, meter of joules


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


def merge(store: Store, dataset: str, rows: Iterable[CostRow]) -> None:
    """Add rows to their models' costs; a row of the same KEY is replaced, others stay."""
    of_place = attrgetter("runtime", "model")
    for (runtime, model), group in groupby(sorted(rows, key=of_place), of_place):
        partition = Partition.of("costs", dataset=dataset, runtime=runtime, model=model)
        with cache.lock(store, partition.guard):
            _write(store, partition, [*_rows(store, partition), *group])


def keep(store: Store, partition: Partition, wanted: Callable[[CostRow], bool]) -> int:
    """Drop the rows of a partition that are not wanted, and say how many; of none left, itself."""
    with cache.lock(store, partition.guard):
        rows = _rows(store, partition)
        kept = [row for row in rows if wanted(row)]
        if kept and len(kept) < len(rows):
            _write(store, partition, kept)
        if rows and not kept:
            remove(store, [Going(partition, len(rows), (), 0)])
        return len(rows) - len(kept)


def _write(store: Store, partition: Partition, rows: Sequence[CostRow]) -> None:
    """For who holds the lock; of rows with the same KEY the last."""
    known = {_key(row): vars(row) for row in rows}
    ordered = [known[key] for key in sorted(known)]
    table = pa.Table.from_pylist(ordered, schema=COSTS)
    about = {"made": cache.now(), "versions": cache.versions()}
    cache.write_partition(store, partition, table, {"rows": cache.digest(ordered)}, about)


def merge_from(store: Store, source: Store, manifest: Manifest) -> None:
    """Add the rows of another cache's partition; of two with the same KEY the newer stays."""
    place = manifest.partition
    found = _stored(source, manifest)
    with cache.lock(store, place.guard):
        _write(store, place, sorted([*_rows(store, place), *found], key=_age))


def read(store: Store, dataset: str, models: Sequence[str]) -> dict[str, list[CostRow]]:
    """Every cost row of each model; an empty list where none is known."""
    found: dict[str, list[CostRow]] = {model: [] for model in models}
    for manifest in cache.find(store, "costs", dataset):
        keys = manifest.partition.keys
        if keys["model"] in found:
            found[keys["model"]] += _stored(store, manifest)
    return found


def _rows(store: Store, partition: Partition) -> list[CostRow]:
    """None of a damaged partition: what is measured anew takes its place."""
    manifest = cache.sound(store, partition)
    return [] if manifest is None else _stored(store, manifest)


def _stored(store: Store, manifest: Manifest) -> list[CostRow]:
    """A partition's rows. Their fields are set together: one by one, as CostRow's own constructor
    sets what is frozen, takes four times as long as reading."""
    table, keys = cache.read_table(store, manifest), manifest.partition.keys
    columns = {name: repeat(keys[name]) for name in ("model", "runtime")}
    columns |= {name: table.column(name).to_pylist() for name in table.column_names}
    names, rows = tuple(columns), []
    for values in zip(*columns.values(), strict=False):
        row = object.__new__(CostRow)
        object.__setattr__(row, "__dict__", dict(zip(names, values, strict=False)))
        rows.append(row)
    return rows


@dataclass(frozen=True)
class Prices:
    """The curves that a question is answered with, and why these.

    `forward` by model; `preprocess` by model, per image, or empty. `busy` are the latencies beside
    joules, `idle_w` the device's idle power where a sensor told it; `quick`, some were measured in
    short windows, where latency tells more of the machine's other work than of a network;
    `unstated` are the models priced by rows that do not say with which weights they were measured;
    `by_request`: these are means, and what each request costs is known.
    """

    kind: str
    unit: str
    device: str | None
    why: str
    forward: dict[str, Curve]
    preprocess: dict[str, Curve]
    busy: Prices | None = None
    idle_w: float | None = None
    quick: bool = False
    unstated: tuple[str, ...] = ()
    by_request: bool = False

    def model(self, name: str, batch_size: int = 1) -> float:
        """Cost per image of a model alone, at this batch size."""
        return float(self.forward[name].at(batch_size)) / batch_size


# Hashes have no model: their rows stand under this name before the algorithm's.
HASH = "hash:"


def hash_cost(
    store: Store, dataset: str, algorithm: str, kind: str, device: str | None
) -> float | None:
    """Cost of hashing one image on the device, in the unit of `kind`; None where not measured.

    Of a kind that no row has, multiply-adds or runs of a model, none is.
    """
    name = HASH + algorithm
    rows = [row for row in read(store, dataset, [name])[name] if row.device == device]
    chosen = _chosen(rows, kind, "hash") if kind in MEASURED else []
    return float(_curve(chosen, kind).at(1)) if chosen else None


_WANTING = {
    "joules": "",
    "latency": ", for want of joules",
    "macs": ", for want of joules and of a full profile",
}


def known(
    rows: dict[str, list[CostRow]],
    macs: Macs,
    required: Sequence[str],
    kinds: Sequence[str] = KINDS,
    device: str | None = None,
    runtime: str | None = None,
) -> Iterator[Prices]:
    """Whatever all `required` models can be priced with: kind by kind, device by device.

    Within a device, costs measured in one runtime come first, `runtime` before others, then those
    of each model in a runtime of its own; within these, joules of one meter.
    """
    for kind in kinds:
        places = _places(kind, rows, required, device, runtime)
        some = [some_macs(macs)] if kind == "macs" else (_prices(kind, p, rows) for p in places)
        for found in some:
            if set(required) <= found.forward.keys():
                yield found


def of_each_request(
    scores: ScoreSet, required: Sequence[str], kind: str | None = None
) -> Prices | None:
    """What each request of `scores` costs by all `required` models: the `kind` asked for, else
    joules, latency, macs or the first named unit; None where that is not known of all, InputError
    of a named unit that was asked for."""
    known = {
        name: {
            model: flat(float(costs.mean()))
            for model, costs in zip(scores.models, each, strict=True)
            if np.isfinite(costs).all()
        }
        for name, each in scores.request_costs.items()
    }
    for name in [kind] if kind else sorted(known, key=lambda name: (name not in KINDS, name)):
        forward = known.get(name, {})
        if set(required) <= forward.keys():
            why = name + OF_EACH_REQUEST + ", as asked" * bool(kind)
            return Prices(name, UNITS.get(name, name), None, why, forward, {}, by_request=True)
    if kind in known and kind not in KINDS:
        lacking = ", ".join(model for model in required if model not in known[kind])
        raise InputError(
            f"{kind} of each request is not known of {lacking} on {scores.dataset}/{scores.split}: "
            "import it too, choose --models, or another --cost"
        )
    if kind not in (None, *KINDS):
        raise one_of("cost", str(kind), [*KINDS, *known])
    return None


def choose(
    rows: dict[str, list[CostRow]],
    macs: Macs,
    required: Sequence[str],
    kind: str | None = None,
    device: str | None = None,
    runtime: str | None = None,
) -> Prices | None:
    """The best costs that all `required` models have on one device: joules, latency, macs, else
    latency measured in short windows.

    Curves of other models come along where they are known. A kind or device that is asked for and
    not there for all of them is an InputError; None where nothing is known and nothing was asked.
    """
    if kind is not None and kind not in KINDS:
        raise one_of("cost", kind, KINDS)
    devices = devices_of(rows, required)
    if device is not None and devices and device not in devices:
        raise one_of("cost device", device, devices)
    wanted = [kind] if kind else tuple(MEASURED) if device else KINDS
    found = _preferred(known(rows, macs, required, wanted, device, runtime))
    if found is not None:
        return replace(found, why=found.why + (", as asked" if kind else _WANTING[found.kind]))
    if kind is None and device is None:
        return None
    raise InputError(_lacking(rows, macs, required, kind, device))


def _preferred(found: Iterator[Prices]) -> Prices | None:
    """The first, but for quick latencies, which come last."""
    later = None
    for prices in found:
        if not (prices.quick and prices.kind == "latency"):
            return prices
        later = later or prices
    return later


def some_macs(macs: Macs) -> Prices:
    """Multiply-adds of the models that tell them."""
    each = {model: flat(count) for model, count in macs.items() if count}
    return Prices("macs", UNITS["macs"], None, UNITS["macs"], each, {})


def devices_of(rows: dict[str, list[CostRow]], models: Sequence[str]) -> list[str]:
    """The devices that any of the models has costs on, sorted."""
    return sorted({row.device for model in models for row in rows[model]})


def _lacking(
    rows: dict[str, list[CostRow]],
    macs: Macs,
    required: Sequence[str],
    kind: str | None,
    device: str | None,
) -> str:
    if kind == "macs":
        unknown = ", ".join(model for model in required if not macs.get(model))
        return f"the multiply-adds of {unknown} are unknown: give --cost joules or latency"
    here = {m: [row for row in rows[m] if device in (None, row.device)] for m in required}
    none = [model for model in required if not here[model]]
    return (
        f"no {kind or 'costs'} of all these models on {device or 'one device'}"
        + (f" (none at all of {', '.join(none)})" if none else "")
        + ": run `cascade profile` there, `cascade import-costs`, or give --cost macs"
    )


def _places(
    kind: str,
    rows: dict[str, list[CostRow]],
    required: Sequence[str],
    device: str | None,
    runtime: str | None,
) -> Iterator[Place]:
    """Where to look for costs: one runtime of a device for all models, else any of each; and there
    joules of one meter, the most trusted first, else any of each."""
    here = [row for model in required for row in rows[model] if device in (None, row.device)]
    found = {(row.device, row.runtime) for row in here}
    one = sorted(found, key=lambda place: (place[1] != runtime, *place))
    for name, ran in [*one, *((name, None) for name in sorted({name for name, _ in found}))]:
        if kind == "joules":
            there = {row.meter for row in here if row.device == name}
            yield from ((name, ran, meter) for meter in sorted(there, key=_trust, reverse=True))
        yield name, ran, None


def _prices(kind: str, place: Place, rows: dict[str, list[CostRow]]) -> Prices:
    here = {model: _at(place, found) for model, found in rows.items()}
    preprocess = {model: _chosen(found, kind, "preprocess") for model, found in here.items()}
    forward = {model: _chosen(rows, kind, "forward", place[2]) for model, rows in here.items()}
    used = [row for chosen in forward.values() for row in chosen]
    idle = [row.idle_w for row in used if row.idle_w]
    return Prices(
        kind,
        UNITS[kind],
        place[0],
        f"{kind} of all models on {place[0]}{_how(kind, used)}",
        {model: _curve(chosen, kind) for model, chosen in forward.items() if chosen},
        {model: _curve(chosen, kind) for model, chosen in preprocess.items() if chosen},
        _prices("latency", (*place[:2], None), rows) if kind == "joules" else None,
        float(np.median(idle)) if idle and kind == "joules" else None,
        any(QUICK in str(row.warnings) for row in used),
        tuple(m for m, rows in forward.items() if any(not row.weights_sha256 for row in rows)),
    )


def _how(kind: str, rows: Sequence[CostRow]) -> str:
    """What else there is to know about costs of these rows."""
    meters = f" by {' and '.join(sorted({row.meter for row in rows}))}"
    notes = []
    if len({row.runtime for row in rows}) > 1:
        notes.append("each in a runtime of its own")
    if any(_error_of(kind, row) is None for row in rows):
        notes.append("the error of measuring is not known of all")
    return (meters if kind == "joules" else "") + (f" ({'; '.join(notes)})" if notes else "")


def _at(place: Place, rows: Sequence[CostRow]) -> list[CostRow]:
    """A model's rows of a place; without a runtime there, those of the one measured last."""
    here = [row for row in rows if row.device == place[0]]
    if not here:
        return []
    newest = max(here, key=_age)
    runtime = place[1] or newest.runtime
    return [row for row in here if row.runtime == runtime]


def _chosen(
    rows: Sequence[CostRow], kind: str, component: str, meter: str | None = None
) -> list[CostRow]:
    """One row per batch size, ascending, the newest: joules of one meter, else of the best."""
    column = MEASURED[kind]
    some = [row for row in rows if row.component == component and getattr(row, column) is not None]
    if kind == "joules":
        some = [row for row in some if not _of_the_host(row)]
        wanted = meter or max((row.meter for row in some), key=_trust, default=None)
        some = [row for row in some if row.meter == wanted]
    known = {row.batch_size: row for row in sorted(some, key=_age)}
    return [known[size] for size in sorted(known)]


def _of_the_host(row: CostRow) -> bool:
    """Whether the joules are those of the computer around a GPU, not the GPU's own."""
    return row.meter == "rapl" and row.runtime.endswith("-cuda")


def _curve(rows: Sequence[CostRow], kind: str) -> Curve:
    """Cost per batch of rows with ascending sizes."""
    sizes = np.array([row.batch_size for row in rows])
    values, low, high = np.array([_bounds(kind, row) for row in rows], np.float64).T
    return Curve(sizes, values, low, high)


def _bounds(kind: str, row: CostRow) -> tuple[float, float, float]:
    """What a batch costs, and the ends of that."""
    value: float = getattr(row, MEASURED[kind])
    low, high = _error_of(kind, row) or (value, value)
    images = row.batch_size if kind == "joules" else 1
    return images * value, images * max(0.0, low), images * high


def _error_of(kind: str, row: CostRow) -> tuple[float, float] | None:
    """The ends of a row's 95 % interval, of latencies mean ± z·SD/√runs; None where not known."""
    if kind == "joules":
        low, high = row.energy_low_j, row.energy_high_j
        return None if low is None or high is None else (low, high)
    mean, sd, runs = row.latency_ms, row.latency_sd_ms, row.runs
    if mean is None or sd is None or not runs:
        return None
    half = NORMAL * sd / sqrt(runs)
    return mean - half, mean + half


def _age(row: CostRow) -> str:
    return row.measured or ""


def _trust(meter: str) -> tuple[int, str]:
    return (_METERS.index(meter) if meter in _METERS else len(_METERS)), meter


def flat(per_image: float) -> Curve:
    """A cost that does not depend on the batch."""
    one = np.array([per_image], np.float64)
    return Curve(np.array([1]), one, one, one)
