"""Watts that a latency and an energy imply together, by which wrong units give themselves away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cache import CostRow, InputError

# A microcontroller that spots keywords draws 0.1 mW; the largest accelerator 3 kW, a machine of
# several (`scope` system) 30 kW.
LEAST_W, MOST_W, MOST_SYSTEM_W = 1e-4, 3e3, 3e4
SYSTEM = "system"
# One device does not draw so many times as much for one of these rows as for another.
SPREAD = 30.0
# A device at work draws no less than one that idles; twice as much is no noise.
_IDLE_OVER = 2.0
# From batches of one to those of 64 a GPU's power grows fivefold. Where it grows as the size does,
# over so many times the size, the energies are of batches.
_AS_THE_SIZE, _SIZES_APART = 0.8, 4
# The unit that a figure may have had instead of the one its column says.
_LARGER = {"us": "milliseconds", "ms": "seconds", "uj": "millijoules", "mj": "joules"}
_LARGER |= {"mw": "watts"}
_SMALLER = {"s": "milliseconds", "ms": "microseconds", "j": "millijoules", "mj": "microjoules"}
_SMALLER |= {"w": "milliwatts"}
_POWERS = ("w", "mw")
_PREFIXES = ((1e6, "MW"), (1e3, "kW"), (1.0, "W"), (1e-3, "mW"))


def watts(row: CostRow) -> float | None:
    """Mean power while a batch runs; None where its latency or energy is not known."""
    energy, latency = row.energy_j, row.latency_ms
    if energy is None or latency is None:
        return None
    return 1e3 * energy * row.batch_size / latency


def check(row: CostRow, energy: str, latency: str) -> None:
    """InputError where no device draws what a row implies; `energy` (or a power) and `latency` name
    the columns that its figures stood in."""
    most = MOST_SYSTEM_W if row.scope == SYSTEM else MOST_W
    found = watts(row)
    idle = row.idle_w
    if found is not None and idle is not None and idle > _IDLE_OVER * found:
        raise InputError(
            f"{told(idle)} idle, and {told(found)} implied while a batch runs: milliwatts under "
            "idle_w, or another column in a wrong unit?"
        )
    if found is None or LEAST_W <= found <= most:
        return
    high = found > most
    bound = f"above {told(most)}" if high else f"below {told(LEAST_W)}"
    whole = " (of a whole machine say scope system)" if most < found <= MOST_SYSTEM_W else ""
    raise InputError(
        f"{told(found)} implied, {bound}: {row.energy_j:.6g} J an image in batches of "
        f"{row.batch_size} that take {row.latency_ms:.6g} ms: "
        f"{', or '.join(_mistakes(row, energy, latency, high))}?{whole}"
    )


def _mistakes(row: CostRow, energy: str, latency: str, high: bool) -> Iterator[str]:
    """What may have gone wrong, in the words of the header."""
    swaps = [(energy, _SMALLER if high else _LARGER)]
    if _unit(energy) not in _POWERS:
        swaps.append((latency, _LARGER if high else _SMALLER))
        if high and row.batch_size > 1:
            yield f"joules of a batch under {energy}"
    for name, unit in reversed(swaps):
        if _unit(name) in unit:
            yield f"{unit[_unit(name)]} under {name}"


def _unit(name: str) -> str:
    return name.rpartition("_")[2]


def told(power: float) -> str:
    """Watts in four digits.

    >>> told(5e6), told(0.0213)
    ('5 MW', '21.3 mW')
    """
    scale, unit = next((each for each in _PREFIXES if power >= each[0]), (1e-6, "µW"))
    return f"{power / scale:.4g} {unit}"


def by_device(rows: Sequence[CostRow]) -> dict[str, dict[str, float]]:
    """The lowest and the highest implied watts of each device that has any."""
    found: dict[str, list[float]] = {}
    for row in rows:
        power = watts(row)
        if power is not None:
            found.setdefault(row.device, []).append(power)
    return {device: {"low": min(all_), "high": max(all_)} for device, all_ in found.items()}


def doubts(rows: Sequence[CostRow]) -> Iterator[str]:
    """A line for each device and meter whose rows imply watts that differ as wrong units do."""
    places: dict[tuple[str, str], list[CostRow]] = {}
    for row in rows:
        if row.component == "forward" and watts(row) is not None:
            places.setdefault((row.device, row.meter), []).append(row)
    for (device, _), here in places.items():
        grown = _grown(here)
        if grown is not None:
            yield (
                f"the watts implied on {device} grow with the batch size, {_shown(*grown)}: are "
                "the joules those of a batch? energy_j is of one image"
            )
            continue
        least, most = min(here, key=_power), max(here, key=_power)
        if _power(most) > SPREAD * _power(least):
            yield (
                f"the watts implied on {device} go {_shown(least, most)}: are all rows in the "
                "units of the header?"
            )


def _grown(rows: Sequence[CostRow]) -> tuple[CostRow, CostRow] | None:
    """A model's rows of the smallest and the largest batch, where its power grows as their size."""
    curves: dict[tuple[str, ...], list[CostRow]] = {}
    for row in rows:
        curves.setdefault((row.model, row.runtime, row.source), []).append(row)
    for curve in curves.values():
        first, last = (pick(curve, key=lambda row: row.batch_size) for pick in (min, max))
        times = last.batch_size / first.batch_size
        if times >= _SIZES_APART and _power(last) >= _AS_THE_SIZE * times * _power(first):
            return first, last
    return None


def _power(row: CostRow) -> float:
    return watts(row) or 0.0


def _shown(first: CostRow, last: CostRow) -> str:
    ends = (
        f"{told(_power(row))} ({row.model} in batches of {row.batch_size})" for row in (first, last)
    )
    return "from " + " to ".join(ends)
