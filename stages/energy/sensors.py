"""What sensors and devices this machine has, and the one line that mends each thing missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cache import InputError
from stages.energy import nvml
from stages.energy.errors import SensorError
from stages.energy.jetson import board, chosen, power_mode, rails, release
from stages.energy.machine import Machine
from stages.energy.meter import Idle, Meter, NoMeter
from stages.energy.opening import HOST, NAMES, open_meters
from stages.energy.plugged import added, opened
from stages.energy.rapl import REMEDY, cpu_name, survey_rapl
from stages.plugins import Added

IDLE_S = 2.0
NVIDIA = "0x10de"
DISPLAY_CLASS = "0x03"
TORCH = "pip install 'cascade-cli[extract]'"
CUDA_TORCH = "pip install --force-reinstall torch torchvision (a CUDA build, see pytorch.org)"
DRIVER = "install the NVIDIA driver; in a container start it with --gpus all"
UTILITY = "in a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility; else reinstall the driver"
KERNEL = "see `dmesg | grep -i rapl`"
WATTMETER = "use an external wattmeter: `cascade profile --meter manual`"


def survey(machine: Machine | None = None, idle_s: float = IDLE_S) -> dict[str, Any]:
    """Devices, sensors, permissions, ticks, idle power, and `problems`: [{what, fix}].

    `sensors` are those that packages add: name, package, and the reason where one does not open.

    Opens every meter and lets it idle for `idle_s` (0: not at all). Never raises for a sensor.
    """
    machine = machine or Machine()
    library, reason = _library(machine)
    found: dict[str, Any] = {
        "cpu": cpu_name(machine.root / "proc/cpuinfo"),
        "pci_gpus": pci_gpus(machine.root),
        "nvidia_driver": (machine.root / "proc/driver/nvidia/version").exists(),
        "nvml": _nvml(library, reason),
        "torch": torch_view(),
        "rapl": _rapl(machine),
        "jetson": _jetson(machine.root),
        "sensors": [],
        "environment": {name: machine.environment.get(name) for name in SEEN},
    }
    meters = [*_meters(found, machine), *_added(found, machine)]
    found["meters"] = [_metered(meter, idle_s) for meter in meters]
    found["problems"] = problems(found)
    return found


SEEN = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")


def pci_gpus(root: Path = Path("/")) -> list[str]:
    """Bus addresses of the NVIDIA display devices, whether or not a driver is loaded."""
    found = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        with suppress(OSError):
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
            if vendor == NVIDIA and kind.startswith(DISPLAY_CLASS):
                found.append(device.name)
    return found


def _library(machine: Machine) -> tuple[nvml.Nvml | None, str | None]:
    try:
        return machine.load_nvml(), None
    except SensorError as error:
        return None, str(error)


def _nvml(library: nvml.Nvml | None, reason: str | None) -> dict[str, Any]:
    if library is None:
        return {"available": False, "reason": reason, "driver": None, "gpus": []}
    try:
        there = nvml.gpus(library)
        reason = None
        lost = library.call("nvmlDeviceGetCount") - len(there)
        if lost:
            reason = f"{lost} of the GPUs is lost: reboot, or reset it with nvidia-smi -r"
    except SensorError as error:
        there, reason = [], str(error)
    shown = [{"index": g.index, "uuid": g.uuid, "name": g.name, "mig": g.mig} for g in there]
    driver = library.driver()
    library.close()
    return {"available": True, "reason": reason, "driver": driver, "gpus": shown}


def torch_view() -> dict[str, Any]:
    """What torch sees; imports it. `installed` is False in an install without it."""
    try:
        import torch
    except ImportError:
        return {"installed": False, "version": None, "cuda": None, "devices": []}
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = [torch.cuda.get_device_name(index) for index in range(count)]
    return {
        "installed": True,
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "devices": names,
    }


def _rapl(machine: Machine) -> dict[str, Any]:
    try:
        return {"zones": survey_rapl(machine.powercap), "reason": None}
    except SensorError as error:
        return {"zones": [], "reason": str(error)}


def _jetson(root: Path) -> dict[str, Any] | None:
    with suppress(SensorError):
        there = rails(root)
        if there:
            used, scope = chosen(there)
            return {
                "board": board(root),
                "release": release(root),
                "power_mode": power_mode(root),
                "rails": [rail.name for rail in there],
                "used": [rail.name for rail in used],
                "scope": scope,
            }
    return None


def _meters(found: dict[str, Any], machine: Machine) -> Iterator[Meter]:
    for gpu in found["nvml"]["gpus"]:
        yield open_meters([gpu["uuid"]], machine=machine)[0]
    for kind in HOST.values():
        with suppress(SensorError):  # said under `rapl` and `jetson`
            yield kind.open("cpu", machine)


def _added(found: dict[str, Any], machine: Machine) -> list[Meter]:
    """Meters of what packages add, each on the first device that it measures."""
    known = added(NAMES)
    found["sensors"] = [
        {"name": None, "package": None, "reason": str(fault)} for fault in known.faults
    ]
    devices = ["cpu", *(f"cuda:{i}" for i in range(len(found["torch"]["devices"])))]
    meters = []
    for name, one in known.items.items():
        meter, reason = _on_any(one, devices, machine)
        found["sensors"].append({"name": name, "package": one.package, "reason": reason})
        meters += [meter] if meter is not None else []
    return meters


def _on_any(
    one: Added, devices: Sequence[str], machine: Machine
) -> tuple[Meter | None, str | None]:
    """The meter, else the first device's reason."""
    reasons = []
    for device in devices:
        try:
            return opened(one, device, machine), None
        except (SensorError, InputError) as error:
            reasons.append(" ".join(str(error).split()))
    return None, reasons[0]


def _metered(meter: Meter, idle_s: float) -> dict[str, Any]:
    blind = isinstance(meter, NoMeter)
    idle = Idle(None, None, 0.0, None)
    if idle_s and not blind:
        idle = meter.measure_idle(idle_s)
    sensor = meter.sensor
    meter.close()
    return {
        "source": sensor.source,
        "scope": sensor.scope,
        "device": sensor.device,
        "uuid": sensor.uuid,
        "driver": sensor.driver,
        "tick_s": sensor.tick_s,
        "detail": sensor.detail,
        "idle_w": idle.power_w,
        "idle_sd_w": idle.sd_w,
        "reason": sensor.detail if blind else idle.reason,
    }


def problems(found: dict[str, Any]) -> list[dict[str, str]]:
    """What is missing, each with the line that mends it."""
    return [{"what": what, "fix": fix} for check in CHECKS for what, fix in check(found)]


Problems = Iterator[tuple[str, str]]


def _gpu_driver(found: dict[str, Any]) -> Problems:
    known, library = len(found["pci_gpus"]), found["nvml"]
    there = bool(known or found["nvidia_driver"])
    if there and not found["nvidia_driver"] and not library["available"]:
        yield f"{known} NVIDIA GPU on the PCI bus, no driver", DRIVER
    elif there and not library["available"]:
        package = "nvidia-ml-py" in (library["reason"] or "")
        yield f"NVML: {library['reason']}", nvml.INSTALL if package else UTILITY
    elif library["available"] and library["reason"]:
        yield f"NVML: {library['reason']}", "see `nvidia-smi` and `dmesg | grep -i nvrm`"


def _torch(found: dict[str, Any]) -> Problems:
    torch, gpus = found["torch"], found["nvml"]["gpus"]
    present = len(gpus) or len(found["pci_gpus"])
    if not torch["installed"]:
        yield "torch is not installed: extract, profile and live need it", TORCH
    elif present and torch["cuda"] is None:
        yield f"torch {torch['version']} is a CPU build, {present} GPU unused", CUDA_TORCH
    elif present and not torch["devices"]:
        yield from _blind(found, present)
    elif len(torch["devices"]) < len(gpus):
        visible = found["environment"]["CUDA_VISIBLE_DEVICES"]
        yield (
            f"torch sees {len(torch['devices'])} of {len(gpus)} GPUs",
            f"CUDA_VISIBLE_DEVICES is {visible!r}: widen it if the others are wanted",
        )


def _blind(found: dict[str, Any], present: int) -> Problems:
    visible = found["environment"]["CUDA_VISIBLE_DEVICES"]
    if visible is not None:
        yield (
            f"torch sees none of {present} GPUs: CUDA_VISIBLE_DEVICES is {visible!r}",
            "unset CUDA_VISIBLE_DEVICES",
        )
        return
    needs = f"CUDA {found['torch']['cuda']}"
    driver = found["nvml"]["driver"] or "none"
    yield (
        f"torch sees none of {present} GPUs: it is built for {needs}, the driver is {driver}",
        f"update the driver to one that supports {needs}, or install torch for an older CUDA",
    )


def _host(found: dict[str, Any]) -> Problems:
    closed = [zone for zone in found["rapl"]["zones"] if zone["counted"] and not zone["readable"]]
    if closed:
        names = ", ".join(zone["zone"] for zone in closed)
        denied = all(zone["denied"] for zone in closed)
        yield f"RAPL of {names} cannot be read", REMEDY if denied else KERNEL
    elif found["rapl"]["reason"]:
        yield f"RAPL: {found['rapl']['reason']}", KERNEL


def _packages(found: dict[str, Any]) -> Problems:
    for sensor in found["sensors"]:
        if sensor["reason"] is not None:
            name = sensor["name"]
            what = sensor["reason"] if name is None else f"sensor {name}: {sensor['reason']}"
            yield what, f"see what {sensor['package'] or 'the package'} needs, or uninstall it"


def _nothing(found: dict[str, Any]) -> Problems:
    blind = [meter for meter in found["meters"] if meter["source"] == "none"]
    for meter in blind:
        yield f"no joules for {meter['device']}: {meter['reason']}", WATTMETER
    if not found["meters"]:
        yield "no energy sensor answers here: joules will be null", WATTMETER


CHECKS = (_gpu_driver, _torch, _host, _packages, _nothing)
