"""Jetson boards: INA3221 and INA238 monitors, over hwmon (JetPack 5 on) or iio (JetPack 4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.energy.errors import ReadFailedError, SensorMissingError, from_os
from stages.energy.meter import Sensor
from stages.energy.sampling import SampledMeter
from stages.energy.sensor_kind import SensorKind
from stages.energy.timing import REAL, Timing, measure_tick

ROOT = Path("/")
CHIPS = ("ina3221", "ina238")

# A rail through which all others are fed, and what it feeds; the first one found is used alone.
INPUTS = {"VIN": "board", "VDD_IN": "module", "POM_5V_IN": "module", "5V_IN": "module"}
# AGX Orin: the memory's rail is fed from the 5 V input and would be counted twice.
BRANCHES = {"VDDQ_VDD2_1V8AO": "VIN_SYS_5V0"}
UNNAMED = re.compile(r"^(nc\d*|n/c|sum of .*|)$", re.IGNORECASE)


@dataclass(frozen=True)
class Rail:
    """One monitored supply: `factors` are files whose product times `scale` is W."""

    name: str
    factors: tuple[Path, ...]
    scale: float

    def read(self) -> float:
        """W. Raises SensorError."""
        watts = self.scale
        for path in self.factors:
            watts *= _number(path)
        return watts


def rails(root: Path = ROOT) -> list[Rail]:
    """Every named rail of every chip, in the order of the tree. Raises SensorError."""
    found = []
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if (chip / "name").exists() and _text(chip / "name") in CHIPS:
            found += _hwmon(chip)
    for chip in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")):
        found += _iio(chip)
    return found


def _hwmon(chip: Path) -> list[Rail]:
    if _text(chip / "name") == "ina238":  # one channel, before the regulators
        name = next((_text(path) for path in chip.glob("*label")), "VIN")
        return [Rail(name, (chip / "power1_input",), 1e-6)]
    found = []
    for label in sorted(chip.glob("in*_label")):
        channel = label.name.removeprefix("in").removesuffix("_label")
        factors = (chip / f"in{channel}_input", chip / f"curr{channel}_input")  # mV, mA
        if not UNNAMED.match(_text(label)) and all(path.exists() for path in factors):
            found.append(Rail(_text(label), factors, 1e-6))
    return found


def _iio(chip: Path) -> list[Rail]:
    found = []
    for label in sorted(chip.glob("rail_name_*")):
        power = chip / f"in_power{label.name.removeprefix('rail_name_')}_input"  # mW
        if not UNNAMED.match(_text(label)) and power.exists():
            found.append(Rail(_text(label), (power,), 1e-3))
    return found


def chosen(found: Sequence[Rail]) -> tuple[list[Rail], str]:
    """The board's input rail alone, else all rails that are no branch of another; and the scope."""
    names = {rail.name for rail in found}
    for name, scope in INPUTS.items():
        if name in names:
            return [next(rail for rail in found if rail.name == name)], scope
    return [rail for rail in found if BRANCHES.get(rail.name) not in names], "rail"


def open_jetson(root: Path = ROOT, timing: Timing = REAL) -> SampledMeter:
    """A meter of the board's input or of its rails. Raises SensorError where there is none."""
    used, scope = chosen(rails(root))
    if not used:
        raise SensorMissingError(
            "no INA3221 or INA238 power monitor in /sys/class/hwmon: not a Jetson, or a container "
            "without /sys"
        )

    def watts() -> float:
        return sum(rail.read() for rail in used)

    ticks = measure_tick(watts, timing, every_s=0.002)
    sensor = Sensor("ina3221", scope, board(root), None, release(root), ticks.tick_s)
    meter = SampledMeter(sensor, watts, timing=timing)
    return _described(meter, used, root)


def _described(meter: SampledMeter, used: Sequence[Rail], root: Path) -> SampledMeter:
    which = f"rail{'s' * (len(used) > 1)} {' + '.join(rail.name for rail in used)}"
    polled = f"polled every {meter.period_s:.3g} s"
    mode = f"power mode {power_mode(root) or 'unknown'}"
    meter.sensor = replace(meter.sensor, detail=f"{which}; {polled}; {mode}")
    return meter


def board(root: Path = ROOT) -> str:
    """The board's name from the device tree."""
    return _optional(root / "proc/device-tree/model").strip("\0 \n") or "Jetson"


def release(root: Path = ROOT) -> str | None:
    """L4T's release line, as "R36, REVISION: 4.7"."""
    text = _optional(root / "etc/nv_tegra_release")
    found = re.search(r"(R\d+).*?REVISION: ([\d.]+)", text)
    return f"L4T {found[1]}.{found[2]}" if found else None


def power_mode(root: Path = ROOT) -> str | None:
    """nvpmodel's mode in force, as "0 (MAXN)"; None where the board does not tell.

    The name is that of the mode's number in /etc/nvpmodel.conf.
    """
    number = re.search(r"pmode:0*(\d+)", _optional(root / "var/lib/nvpmodel/status"))
    if number is None:
        return None
    models = _optional(root / "etc/nvpmodel.conf")
    name = re.search(rf"POWER_MODEL\s+ID={number[1]}\s+NAME=(\S+)", models)
    return f"{number[1]} ({name[1]})" if name else number[1]


def _optional(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> float:
    text = _text(path)
    try:
        return float(text)
    except ValueError as error:
        raise ReadFailedError(f"{path} holds {text[:40]!r}, not a number") from error


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise from_os(error, f"cannot read {path}") from error


JETSON = SensorKind("jetson", lambda device, machine: open_jetson(machine.root, machine.timing))
