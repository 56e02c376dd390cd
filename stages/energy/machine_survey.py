"""What sensors and devices this machine has, and the one line that mends each thing missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from stages.energy import nvml_library
from stages.energy.errors import SensorError
from stages.energy.jetson import board, chosen, power_mode, rails, release
from stages.energy.machine import Machine
from stages.energy.meter import Idle, Meter, NoMeter, Sensor
from stages.energy.opening import HOST, NAMES, open_meters
from stages.energy.plugged import added, on_any
from stages.energy.rapl import REMEDY, ZoneFound, cpu_name, survey_rapl
from stages.energy.sysfs import if_there

IDLE_S = 2.0
NVIDIA = "0x10de"
DISPLAY_CLASS = "0x03"
TORCH = "pip install 'cascade-cli[extract]', or 'cascade-cli[onnx]' for ONNX files alone"
CUDA_TORCH = "pip install --force-reinstall torch torchvision (a CUDA build, see pytorch.org)"
DRIVER = "install the NVIDIA driver; in a container start it with --gpus all"
UTILITY = "in a container set NVIDIA_DRIVER_CAPABILITIES=compute,utility; else reinstall the driver"
KERNEL = "see `dmesg | grep -i rapl`"
WATTMETER = "use an external wattmeter: `cascade profile --meter manual`"


@dataclass(frozen=True)
class GpuFound:
    """A GPU as NVML lists it; `mig` where it is cut into instances."""

    index: int
    uuid: str
    name: str
    mig: bool


@dataclass(frozen=True)
class NvmlFound:
    available: bool
    reason: str | None
    driver: str | None = None
    gpus: tuple[GpuFound, ...] = ()


@dataclass(frozen=True)
class TorchFound:
    """What torch sees; `installed` is False in an install without it."""

    installed: bool
    version: str | None = None
    cuda: str | None = None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class RaplFound:
    zones: tuple[ZoneFound, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class JetsonFound:
    """A board, and the names of its rails, of those that are used, and what these cover."""

    board: str
    release: str | None
    power_mode: str | None
    rails: tuple[str, ...]
    used: tuple[str, ...]
    scope: str


@dataclass(frozen=True)
class AddedFound:
    """A sensor that a package adds, and the reason where it does not open."""

    name: str | None
    package: str | None
    reason: str | None


@dataclass(frozen=True)
class MeterFound(Sensor):
    """An opened meter's sensor, W of its idle device, and the reason where these are unknown."""

    idle_w: float | None = None
    idle_sd_w: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Problem:
    """What is missing, and the line that mends it."""

    what: str
    fix: str


@dataclass(frozen=True)
class MachineSurvey:
    """What `survey` finds; the variables of `environment` are those that hide GPUs."""

    cpu: str
    pci_gpus: list[str]
    nvidia_driver: bool
    nvml: NvmlFound
    torch: TorchFound
    rapl: RaplFound
    jetson: JetsonFound | None
    sensors: list[AddedFound]
    environment: dict[str, str | None]
    meters: list[MeterFound]
    problems: list[Problem] = field(default_factory=list)


def survey(machine: Machine | None = None, idle_s: float = IDLE_S) -> MachineSurvey:
    """Devices, sensors, permissions, ticks, idle power, and problems.

    Opens every meter and lets it idle for `idle_s` (0: not at all). Never raises for a sensor.
    """
    machine = machine or Machine()
    library, torch = _nvml(machine), torch_view()
    plugged, sensors = _added(torch, machine)
    found = MachineSurvey(
        cpu=cpu_name(machine.root / "proc/cpuinfo"),
        pci_gpus=pci_gpus(machine.root),
        nvidia_driver=(machine.root / "proc/driver/nvidia/version").exists(),
        nvml=library,
        torch=torch,
        rapl=_rapl(machine),
        jetson=_jetson(machine.root),
        sensors=sensors,
        environment={name: machine.environment.get(name) for name in SEEN},
        meters=[_metered(meter, idle_s) for meter in (*_meters(library, machine), *plugged)],
    )
    return replace(found, problems=problems(found))


SEEN = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")


def pci_gpus(root: Path) -> list[str]:
    """Bus addresses of the NVIDIA display devices, whether or not a driver is loaded."""
    return [
        device.name
        for device in sorted((root / "sys/bus/pci/devices").glob("*"))
        if if_there(device / "vendor").strip() == NVIDIA
        and if_there(device / "class").startswith(DISPLAY_CLASS)
    ]


def _nvml(machine: Machine) -> NvmlFound:
    try:
        library = machine.load_nvml()
    except SensorError as error:
        return NvmlFound(False, str(error))
    there, reason = [], None
    try:
        there = nvml_library.gpus(library)
        lost = library.call("nvmlDeviceGetCount") - len(there)
        if lost:
            reason = f"{lost} of the GPUs is lost: reboot, or reset it with nvidia-smi -r"
    except SensorError as error:
        there, reason = [], str(error)
    shown = tuple(GpuFound(each.index, each.uuid, each.name, each.mig) for each in there)
    driver = library.driver()
    library.close()
    return NvmlFound(True, reason, driver, shown)


def torch_view() -> TorchFound:
    """Imports torch."""
    try:
        import torch
    except ImportError:
        return TorchFound(False)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = tuple(torch.cuda.get_device_name(index) for index in range(count))
    return TorchFound(True, torch.__version__, torch.version.cuda, names)


def _rapl(machine: Machine) -> RaplFound:
    try:
        return RaplFound(survey_rapl(machine.powercap))
    except SensorError as error:
        return RaplFound(reason=str(error))


def _jetson(root: Path) -> JetsonFound | None:
    with suppress(SensorError):
        if there := rails(root):
            used, scope = chosen(there)
            names, in_use = (tuple(rail.name for rail in group) for group in (there, used))
            return JetsonFound(board(root), release(root), power_mode(root), names, in_use, scope)
    return None


def _meters(library: NvmlFound, machine: Machine) -> Iterator[Meter]:
    for gpu in library.gpus:
        yield open_meters([gpu.uuid], machine=machine)[0]
    for kind in HOST.values():
        with suppress(SensorError):  # said under `rapl` and `jetson`
            yield kind.open("cpu", machine)


def _added(torch: TorchFound, machine: Machine) -> tuple[list[Meter], list[AddedFound]]:
    """Of what packages add, the meters, each on the first device that it measures, and all."""
    known = added(NAMES)
    found = [AddedFound(None, None, str(fault)) for fault in known.faults]
    devices = ["cpu", *(f"cuda:{i}" for i in range(len(torch.devices)))]
    meters = []
    for name, one in known.items.items():
        meter = on_any(one, devices, machine)
        reason = meter if isinstance(meter, str) else None
        found.append(AddedFound(name, one.package, reason))
        meters += [meter] if isinstance(meter, Meter) else []
    return meters, found


def _metered(meter: Meter, idle_s: float) -> MeterFound:
    blind = isinstance(meter, NoMeter)
    idle = meter.measure_idle(idle_s) if idle_s and not blind else Idle()
    sensor = meter.sensor
    meter.close()
    reason = sensor.detail if blind else idle.reason
    return MeterFound(**vars(sensor), idle_w=idle.power_w, idle_sd_w=idle.sd_w, reason=reason)


def problems(found: MachineSurvey) -> list[Problem]:
    """What is missing, each with the line that mends it."""
    return [Problem(*each) for each in (*_nvml_driver(found), *_torch(found), *_sensors(found))]


Problems = Iterator[tuple[str, str]]


def _nvml_driver(found: MachineSurvey) -> Problems:
    known, library = len(found.pci_gpus), found.nvml
    if library.available and library.reason:
        yield f"NVML: {library.reason}", "see `nvidia-smi` and `dmesg | grep -i nvrm`"
    elif not library.available and found.nvidia_driver:
        package = "nvidia-ml-py" in (library.reason or "")
        yield f"NVML: {library.reason}", nvml_library.INSTALL if package else UTILITY
    elif not library.available and known:
        yield f"{known} NVIDIA GPU on the PCI bus, no driver", DRIVER


def _torch(found: MachineSurvey) -> Problems:
    torch, gpus = found.torch, len(found.nvml.gpus)
    present = gpus or len(found.pci_gpus)
    visible = found.environment["CUDA_VISIBLE_DEVICES"]
    hidden = f"CUDA_VISIBLE_DEVICES is {visible!r}"
    if not torch.installed:
        yield "torch is not installed: extract, profile and live need it", TORCH
    elif present and torch.cuda is None:
        yield f"torch {torch.version} is a CPU build, {present} GPU unused", CUDA_TORCH
    elif present and not torch.devices and visible is not None:
        yield f"torch sees none of {present} GPUs: {hidden}", "unset CUDA_VISIBLE_DEVICES"
    elif present and not torch.devices:
        needs, driver = f"CUDA {torch.cuda}", found.nvml.driver or "none"
        yield (
            f"torch sees none of {present} GPUs: it is built for {needs}, the driver is {driver}",
            f"update the driver to one that supports {needs}, or install torch for an older CUDA",
        )
    elif len(torch.devices) < gpus:
        seen = f"torch sees {len(torch.devices)} of {gpus} GPUs"
        yield seen, f"{hidden}: widen it if the others are wanted"


def _sensors(found: MachineSurvey) -> Problems:
    closed = [zone for zone in found.rapl.zones if zone.counted and not zone.readable]
    if closed:
        names = ", ".join(zone.zone for zone in closed)
        denied = all(zone.denied for zone in closed)
        yield f"RAPL of {names} cannot be read", REMEDY if denied else KERNEL
    elif found.rapl.reason:
        yield f"RAPL: {found.rapl.reason}", KERNEL
    for sensor in found.sensors:
        if sensor.reason is not None:
            named = "" if sensor.name is None else f"sensor {sensor.name}: "
            needs = f"see what {sensor.package or 'the package'} needs, or uninstall it"
            yield named + sensor.reason, needs
    for meter in found.meters:
        if meter.source == "none":
            yield f"no joules for {meter.device}: {meter.reason}", WATTMETER
    if not found.meters:
        yield "no energy sensor answers here: joules will be null", WATTMETER
