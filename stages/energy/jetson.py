"""Jetson boards: INA3221 and INA238 monitors, over hwmon (JetPack 5 on) or iio (JetPack 4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from stages.energy.errors import SensorMissingError
from stages.energy.machine import Machine
from stages.energy.meter import Sensor
from stages.energy.sampling import SampledMeter
from stages.energy.sensor_kind import SensorKind, sampled
from stages.energy.sysfs import if_there, number_of, text_of

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
        return prod(map(number_of, self.factors), start=self.scale)


def rails(root: Path) -> list[Rail]:
    """Every named rail of every chip, in the order of the tree. Raises SensorError."""
    found = []
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if (chip / "name").exists() and text_of(chip / "name") in CHIPS:
            found += _hwmon(chip)
    for chip in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*")):
        found += _iio(chip)
    return found


def _hwmon(chip: Path) -> list[Rail]:
    if text_of(chip / "name") == "ina238":  # one channel, before the regulators
        name = next((text_of(path) for path in chip.glob("*label")), "VIN")
        return [Rail(name, (chip / "power1_input",), 1e-6)]
    found = []
    for label in sorted(chip.glob("in*_label")):
        channel = label.name.removeprefix("in").removesuffix("_label")
        factors = (chip / f"in{channel}_input", chip / f"curr{channel}_input")  # mV, mA
        if not UNNAMED.match(text_of(label)) and all(path.exists() for path in factors):
            found.append(Rail(text_of(label), factors, 1e-6))
    return found


def _iio(chip: Path) -> list[Rail]:
    found = []
    for label in sorted(chip.glob("rail_name_*")):
        power = chip / f"in_power{label.name.removeprefix('rail_name_')}_input"  # mW
        if not UNNAMED.match(text_of(label)) and power.exists():
            found.append(Rail(text_of(label), (power,), 1e-3))
    return found


def chosen(found: Sequence[Rail]) -> tuple[list[Rail], str]:
    """The board's input rail alone, else all rails that are no branch of another; and the scope."""
    names = {rail.name for rail in found}
    for name, scope in INPUTS.items():
        if name in names:
            return [next(rail for rail in found if rail.name == name)], scope
    return [rail for rail in found if BRANCHES.get(rail.name) not in names], "rail"


def open_jetson(machine: Machine) -> SampledMeter:
    """A meter of the board's input or of its rails. Raises SensorError where there is none."""
    root = machine.root
    used, scope = chosen(rails(root))
    if not used:
        raise SensorMissingError(
            "no INA3221 or INA238 power monitor in /sys/class/hwmon: not a Jetson, or a container "
            "without /sys"
        )
    sensor = Sensor("ina3221", scope, board(root), None, release(root))
    meter = sampled(lambda: sum(rail.read() for rail in used), sensor, machine)
    which = f"rail{'s' * (len(used) > 1)} {' + '.join(rail.name for rail in used)}"
    polled = f"polled every {meter.period_s:.3g} s"
    mode = f"power mode {power_mode(root) or 'unknown'}"
    meter.sensor = replace(meter.sensor, detail=f"{which}; {polled}; {mode}")
    return meter


def board(root: Path) -> str:
    """The board's name from the device tree."""
    return if_there(root / "proc/device-tree/model").strip("\0 \n") or "Jetson"


def release(root: Path) -> str | None:
    """L4T's release line, as "R36, REVISION: 4.7"."""
    text = if_there(root / "etc/nv_tegra_release")
    found = re.search(r"(R\d+).*?REVISION: ([\d.]+)", text)
    return f"L4T {found[1]}.{found[2]}" if found else None


def power_mode(root: Path) -> str | None:
    """nvpmodel's mode in force, as "0 (MAXN)"; None where the board does not tell.

    The name is that of the mode's number in /etc/nvpmodel.conf.
    """
    number = re.search(r"pmode:0*(\d+)", if_there(root / "var/lib/nvpmodel/status"))
    if number is None:
        return None
    models = if_there(root / "etc/nvpmodel.conf")
    name = re.search(rf"POWER_MODEL\s+ID={number[1]}\s+NAME=(\S+)", models)
    return f"{number[1]} ({name[1]})" if name else number[1]


JETSON = SensorKind("jetson", lambda device, machine: open_jetson(machine))
