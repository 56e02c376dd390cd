"""Sensors that installed packages add: opened by name, or where nothing built in measures."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from cache import InputError, one_of
from stages import plugins
from stages.energy.errors import SensorError
from stages.energy.machine import Machine
from stages.energy.meter import Measured, Meter, NoMeter
from stages.energy.sensor_kind import SensorKind
from stages.plugins import Added, Extras, extras, misfit

T = TypeVar("T")
_NAME = re.compile(r"[^\s,:]+")


class Guarded(Meter):
    """Another's meter: whatever it raises makes the joules unknown, with `blame` in the reason."""

    def __init__(self, meter: Meter, blame: str) -> None:
        super().__init__(meter.sensor, meter.timing)
        self._meter = meter
        self._blame = blame

    def begin(self) -> Any:
        """As the meter's."""
        return self._guarded(self._meter.begin)

    def finish(self, state: Any, start_ns: int, end_ns: int) -> Measured:
        """As the meter's."""
        return self._guarded(lambda: self._meter.finish(state, start_ns, end_ns))

    def prepare(self) -> Any:
        """As the meter's."""
        return self._guarded(self._meter.prepare)

    def conditions(self, before: Any) -> tuple[str, ...]:
        """As the meter's."""
        return self._guarded(lambda: self._meter.conditions(before))

    def abandon(self, state: Any) -> None:
        """As the meter's."""
        self._guarded(lambda: self._meter.abandon(state))

    def close(self) -> None:
        """As the meter's."""
        with suppress(SensorError):
            self._guarded(self._meter.close)

    def _guarded(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except SensorError:
            raise
        except Exception as error:  # another's code can fail in any way
            raise SensorError(f"{self._blame}: {type(error).__name__}: {error}") from error


def added(taken: Collection[str]) -> Extras:
    """By name; left out is what has a name that is taken or none."""
    return extras(plugins.SENSORS, SensorKind, "sensor", taken, _unusable)


def _unusable(sensor: SensorKind) -> str | None:
    if not isinstance(sensor.name, str) or not _NAME.fullmatch(sensor.name):
        return f"its sensor's name {sensor.name!r} is none: no comma, colon or space"
    return misfit(sensor)


def open_named(name: str, device: str, machine: Machine, taken: Collection[str]) -> Meter:
    """The meter asked for; InputError where there is no such sensor, or it does not open."""
    known = added(taken)
    if name not in known.items:
        known.check()
        raise one_of("meter", name, [*taken, *known.items])
    try:
        return opened(known.items[name], device, machine)
    except SensorError as error:
        raise InputError(f"no meter {name!r}: {' '.join(str(error).split())}") from error


def opened(one: Added, device: str, machine: Machine) -> Meter:
    """Raises SensorError as the sensor does, InputError for a package that fails otherwise."""
    name = one.item.name
    with one.blamed(f"its sensor {name}", SensorError):
        meter = one.item.open(device, machine)
    if not isinstance(meter, Meter):
        raise one.fault(f"its sensor {name} opens as a {type(meter).__name__}, not as a Meter")
    return Guarded(meter, f"package {one.package}, sensor {name}")


def or_added(meter: NoMeter, device: str, machine: Machine, taken: Collection[str]) -> Meter:
    """The first added sensor that opens, else no meter with all reasons.

    A package that fails is a reason why there are no joules, and stops nobody who did not ask.
    """
    known = added(taken)
    reasons = [meter.reason, *map(str, known.faults)]
    for name, one in known.items.items():
        found = on_any(one, [device], machine)
        if isinstance(found, Meter):
            return found
        reasons.append(f"{name}: {found}")
    return NoMeter("; ".join(reasons), device, machine.timing)


def on_any(one: Added, devices: Sequence[str], machine: Machine) -> Meter | str:
    """The meter of the first of the devices that it measures, else the first one's reason."""
    reasons = []
    for device in devices:
        try:
            return opened(one, device, machine)
        except (SensorError, InputError) as error:
            reasons.append(" ".join(str(error).split()))
    return reasons[0]
