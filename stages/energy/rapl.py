"""CPU packages and their DRAM, from the powercap tree that Intel's and AMD's RAPL counters fill."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.energy.counter import CounterMeter
from stages.energy.errors import NoPermissionError, SensorError, SensorMissingError
from stages.energy.meter import Sensor
from stages.energy.sensor_kind import SensorKind
from stages.energy.sysfs import if_there, number_of, text_of
from stages.energy.timing import Timing, measure_tick

COUNTED = ("package", "dram")
UNIT_J = 61e-6  # the finest energy unit of the MSR, 2⁻¹⁴ J
HIGHEST_W = 2000.0  # more than any zone draws: tells a wrap from a reset
LONGEST_POLL_S = 10.0
REMEDY = (
    "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj (lasts until reboot; to keep it, "
    'in /etc/udev/rules.d/99-rapl.rules: SUBSYSTEM=="powercap", ACTION=="add", '
    'RUN+="/bin/chmod a+r /sys%p/energy_uj")'
)


@dataclass(frozen=True)
class Zone:
    """One RAPL domain: its folder, name (package-0, dram, psys) and the J at which it wraps."""

    path: Path
    name: str
    range_j: float

    def read(self) -> float:
        """The counter in J. Raises SensorError; without permission it names the remedy."""
        return number_of(self.path / "energy_uj", int, REMEDY) / 1e6


def zones(tree: Path) -> list[Zone]:
    """Every domain once, package by package. Empty where there is no RAPL."""
    found: dict[Path, Zone] = {}
    for path in sorted(tree.glob("*rapl*")):
        if not (path / "energy_uj").exists() or "mmio" in path.name:
            continue  # the memory-mapped tree shows package 0 a second time
        span = number_of(path / "max_energy_range_uj", int, REMEDY) / 1e6
        found.setdefault(path.resolve(), Zone(path, text_of(path / "name", REMEDY), span))
    return list(found.values())


def counted(found: Sequence[Zone]) -> list[Zone]:
    """What is added up: packages and their DRAM; core and uncore are parts, psys overlaps."""
    return [zone for zone in found if zone.name.startswith(COUNTED)]


class Unwrapped:
    """J of several zones since it was made, polled so often that no wrap can pass unseen."""

    def __init__(self, watched: Sequence[Zone], timing: Timing) -> None:
        self._clock = timing.clock
        self._lock = threading.Lock()
        self._total = 0.0
        self._last = {zone: (timing.clock(), zone.read()) for zone in watched}
        self._poller = timing.poller(self.read, poll_period(watched), timing.clock)
        self._poller.start()

    def read(self) -> float:
        """Joules so far. Raises SensorError."""
        with self._lock:
            for zone, (then, before) in self._last.items():
                now, value = self._clock(), zone.read()
                self._total += step(zone, before, value, (now - then) / 1e9)
                self._last[zone] = now, value
            return self._total

    def close(self) -> None:
        """Stop polling. Raises what polling met: the joules are then unknown."""
        self._poller.stop()


def step(zone: Zone, before_j: float, after_j: float, seconds: float) -> float:
    """Joules between two reads of a zone that wraps at most once. Raises SensorError."""
    if seconds * HIGHEST_W >= zone.range_j:
        raise SensorError(
            f"{zone.name} was not read for {seconds:.3g} s and may have wrapped twice: "
            "the machine is overloaded; measure again"
        )
    if after_j >= before_j:
        return after_j - before_j
    wrapped = after_j + zone.range_j - before_j
    if wrapped > HIGHEST_W * max(seconds, 1e-3):
        raise SensorError(
            f"{zone.name} went back from {before_j:.6g} J to {after_j:.6g} J, which is no wrap at "
            f"{zone.range_j:.6g} J: it was reset; measure again"
        )
    return wrapped


def poll_period(watched: Sequence[Zone]) -> float:
    """Seconds: several polls before the smallest zone could wrap."""
    return min(LONGEST_POLL_S, min(zone.range_j for zone in watched) / HIGHEST_W / 4)


def open_rapl(tree: Path, timing: Timing) -> CounterMeter:
    """A meter of all packages and DRAM. Raises SensorError where there is none or it is closed."""
    found = zones(tree)
    watched = counted(found)
    if not watched:
        raise SensorMissingError(
            f"no RAPL package in {tree}: not an x86 host, or a virtual machine or container hides "
            "it; an external wattmeter can stand in (manual)"
        )
    for zone in watched:
        zone.read()
    ticks = measure_tick(watched[0].read, timing, limit_s=0.5, every_s=0.0002)
    if ticks.steps == 0:
        raise SensorMissingError(f"{watched[0].path}/energy_uj answers but does not advance")
    left_out = [zone.name for zone in found if zone not in watched]
    detail = f"adds {', '.join(zone.name for zone in watched)}"
    if left_out:
        detail += f"; not added: {', '.join(left_out)}"
    sensor = Sensor("rapl", "package", cpu_name(), tick_s=ticks.tick_s, detail=detail)
    unit = UNIT_J * len(watched)
    return CounterMeter(sensor, lambda: Unwrapped(watched, timing), unit_j=unit, timing=timing)


@dataclass(frozen=True)
class ZoneFound:
    """A zone: whether it is counted and readable, and the reason where it is not."""

    zone: str
    path: str
    counted: bool
    readable: bool
    denied: bool
    reason: str | None


def survey_rapl(tree: Path) -> tuple[ZoneFound, ...]:
    """Every zone."""
    found = zones(tree)
    return tuple(_tried(zone, zone in counted(found)) for zone in found)


def _tried(zone: Zone, is_counted: bool) -> ZoneFound:
    about = (zone.name, str(zone.path), is_counted)
    try:
        zone.read()
    except SensorError as error:
        return ZoneFound(*about, False, isinstance(error, NoPermissionError), str(error))
    return ZoneFound(*about, True, False, None)


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's model name, "cpu" where the kernel does not tell."""
    lines = if_there(cpuinfo).splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "cpu")


RAPL = SensorKind("rapl", lambda device, machine: open_rapl(machine.powercap, machine.timing))
