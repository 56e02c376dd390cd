"""`doctor`: what this machine can run on and measure, and what mends the rest."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_cli import options as opt
from cascade_cli.show.text import print_json, print_table, say
from stages import energy

METER_COLUMNS = {
    "source": "sensor",
    "scope": "scope",
    "device": "device",
    "tick_ms": "tick ms:.3g",
    "idle_w": "idle W:.3g",
    "idle_sd_w": "± W:.2g",
    "detail": "detail",
}


CHECK_COLUMNS = {
    "device": "device",
    "source": "sensor",
    "seconds": "s:.3g",
    "energy_j": "J:.5g",
    "zeus_j": "zeus J:.5g",
    "difference": "difference:+.2%",
    "skipped": "skipped",
}


@opt.grouped("cross_check idle as_json")
def doctor(
    common: opt.CommonOptions,
    cross_check: bool = opt.option(False, "Compare joules with the zeus library, for 6 s."),
    idle: float = opt.option(2.0, "Seconds of idling per sensor, 0 for none.", min=0.0),
) -> None:
    """Say which devices and energy sensors are there, and what mends each that is missing.

    \b
    cascade doctor
    """
    found = energy.survey(idle_s=idle)
    checks = _cross_checks(found) if cross_check else []
    if common.as_json:
        print_json(vars(found) | ({"cross_check": checks} if checks else {}))
        return
    _print(found, checks)


def _cross_checks(
    found: energy.MachineSurvey,
) -> list[energy.SensorComparison | energy.SkippedComparison]:
    count = len(found.torch.devices)
    devices = [f"cuda:{index}" for index in range(count)]
    devices += ["cpu"] * any(meter.source == "rapl" for meter in found.meters)
    say(f"cross-check: {len(devices) or 1} × 6 s of work")
    return [energy.cross_check(device) for device in devices or ["cpu"]]


def _print(
    found: energy.MachineSurvey,
    checks: Sequence[energy.SensorComparison | energy.SkippedComparison],
) -> None:
    for name, value in _facts(found):
        print(f"{name:<9} {value}")
    if found.meters:
        print()
        rows = [vars(row) | {"tick_ms": row.tick_s and 1e3 * row.tick_s} for row in found.meters]
        print_table(rows, METER_COLUMNS)
    if checks:
        print()
        print_table(checks, CHECK_COLUMNS)
    print()
    for problem in found.problems:
        print(f"missing: {problem.what}\n  to mend: {problem.fix}")
    if not found.problems:
        print("nothing is missing")


def _facts(found: energy.MachineSurvey) -> list[tuple[str, object]]:
    torch, nvml, jetson = found.torch, found.nvml, found.jetson
    built = f"CUDA {torch.cuda}" if torch.cuda else "CPU build"
    facts: list[tuple[str, object]] = [
        ("cpu", found.cpu),
        ("pci", f"{len(found.pci_gpus)} NVIDIA GPU"),
        ("nvml", f"driver {nvml.driver}" if nvml.available else nvml.reason),
        *((f"gpu {gpu.index}", f"{gpu.name} {gpu.uuid}") for gpu in nvml.gpus),
        ("torch", f"{torch.version}, {built}" if torch.installed else "not installed"),
        *((f"cuda:{index}", name) for index, name in enumerate(torch.devices)),
    ]
    for zone in found.rapl.zones:
        use = "counted" if zone.counted else "not added"
        facts.append(("rapl", f"{zone.zone}: {use if zone.readable else zone.reason}"))
    if jetson:
        used = " + ".join(jetson.used)
        facts.append(("jetson", f"{jetson.board}, mode {jetson.power_mode}, {used}"))
    for sensor in found.sensors:
        named = f"{sensor.name} of {sensor.package}: " if sensor.name else ""
        facts.append(("sensor", named + (sensor.reason or "opens")))
    return facts
