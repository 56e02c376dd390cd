"""What a sensor is: a name, and what opens it; and the meters that need its readings alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from stages.energy.counter import CounterMeter, PlainCounter
from stages.energy.errors import SensorMissingError
from stages.energy.machine import Machine
from stages.energy.meter import Meter, Sensor
from stages.energy.sampling import SampledMeter
from stages.energy.timing import measure_tick


@dataclass(frozen=True)
class SensorKind:
    """A sensor by its name.

    open: what is to be measured ("cpu", "cuda:0", a GPU's UUID) and where sensors are looked for →
    its Meter; SensorMissingError where there is none, or where it does not measure that device.
    """

    name: str
    open: Callable[[str, Machine], Meter]


def counted(
    joules: Callable[[], float], sensor: Sensor, machine: Machine, unit_j: float = 0.0
) -> CounterMeter:
    """The meter of a cumulative counter: `joules` since some fixed moment, cut to `unit_j`.

    Its tick is measured first, up to 3 s. SensorMissingError where it does not advance.
    """
    ticks = measure_tick(joules, machine.timing)
    if ticks.steps == 0:
        raise SensorMissingError(f"the counter of {sensor.source} answers but does not advance")
    known = replace(sensor, tick_s=ticks.tick_s)
    return CounterMeter(known, lambda: PlainCounter(joules), unit_j=unit_j, timing=machine.timing)


def sampled(watts: Callable[[], float], sensor: Sensor, machine: Machine) -> SampledMeter:
    """The meter of a power sensor; its tick is measured first, where it moves within 3 s."""
    tick = measure_tick(watts, machine.timing, every_s=0.002).tick_s
    return SampledMeter(replace(sensor, tick_s=tick), watts, timing=machine.timing)
