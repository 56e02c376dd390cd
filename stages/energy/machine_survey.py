"""What sensors and devices this machine has, and the one line that mends each thing missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cache import InputError
from stages.energy import nvml_library
from stages.energy.errors import SensorError
from stages.energy.jetson import board, chosen, power_mode, rails, release
from stages.energy.machine import Machine
from stages.energy.meter import Idle, Meter, NoMeter, Sensor
from stages.energy.opening import HOST, NAMES, open_meters
from stages.energy.plugged import added, opened
from stages.energy.rapl import REMEDY, ZoneFound, cpu_name, survey_rapl
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


def pci_gpus(root: Path = Path("/")) -> list[str]:
    """Bus addresses of the NVIDIA display devices, whether or not a driver is loaded."""
    found = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        with suppress(OSError):
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
            if vendor == NVIDIA and kind.startswith(DISPLAY_CLASS):
                found.append(device.name)
    return found


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
        there = rails(root)
        if there:
            used, scope = chosen(there)
            about = (board(root), release(root), power_mode(root))
            names, in_use = (tuple(rail.name for rail in group) for group in (there, used))
            return JetsonFound(*about, names, in_use, scope)
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
        meter, reason = _on_any(one, devices, machine)
        found.append(AddedFound(name, one.package, reason))
        meters += [meter] if meter is not None else []
    return meters, found


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


def _metered(meter: Meter, idle_s: float) -> MeterFound:
    blind = isinstance(meter, NoMeter)
    idle = Idle(None, None, 0.0, None)
    if idle_s and not blind:
        idle = meter.measure_idle(idle_s)
    sensor = meter.sensor
    meter.close()
    reason = sensor.detail if blind else idle.reason
    return MeterFound(**vars(sensor), idle_w=idle.power_w, idle_sd_w=idle.sd_w, reason=reason)


def problems(found: MachineSurvey) -> list[Problem]:
    """What is missing, each with the line that mends it."""
    return [Problem(*each) for check in CHECKS for each in check(found)]


Problems = Iterator[tuple[str, str]]


def _gpu_driver(found: MachineSurvey) -> Problems:
    known, library = len(found.pci_gpus), found.nvml
    there = bool(known or found.nvidia_driver)
    if there and not found.nvidia_driver and not library.available:
        yield f"{known} NVIDIA GPU on the PCI bus, no driver", DRIVER
    elif there and not library.available:
        package = "nvidia-ml-py" in (library.reason or "")
        yield f"NVML: {library.reason}", nvml_library.INSTALL if package else UTILITY
    elif library.available and library.reason:
        yield f"NVML: {library.reason}", "see `nvidia-smi` and `dmesg | grep -i nvrm`"


def _torch(found: MachineSurvey) -> Problems:
    torch, gpus = found.torch, found.nvml.gpus
    present = len(gpus) or len(found.pci_gpus)
    if not torch.installed:
        yield "torch is not installed: extract, profile and live need it", TORCH
    elif present and torch.cuda is None:
        yield f"torch {torch.version} is a CPU build, {present} GPU unused", CUDA_TORCH
    elif present and not torch.devices:
        yield from _blind(found, present)
    elif len(torch.devices) < len(gpus):
        visible = found.environment["CUDA_VISIBLE_DEVICES"]
        yield (
            f"torch sees {len(torch.devices)} of {len(gpus)} GPUs",
            f"CUDA_VISIBLE_DEVICES is {visible!r}: widen it if the others are wanted",
        )


def _blind(found: MachineSurvey, present: int) -> Problems:
    visible = found.environment["CUDA_VISIBLE_DEVICES"]
    if visible is not None:
        yield (
            f"torch sees none of {present} GPUs: CUDA_VISIBLE_DEVICES is {visible!r}",
            "unset CUDA_VISIBLE_DEVICES",
        )
        return
    needs = f"CUDA {found.torch.cuda}"
    driver = found.nvml.driver or "none"
    yield (
        f"torch sees none of {present} GPUs: it is built for {needs}, the driver is {driver}",
        f"update the driver to one that supports {needs}, or install torch for an older CUDA",
    )


def _host(found: MachineSurvey) -> Problems:
    closed = [zone for zone in found.rapl.zones if zone.counted and not zone.readable]
    if closed:
        names = ", ".join(zone.zone for zone in closed)
        denied = all(zone.denied for zone in closed)
        yield f"RAPL of {names} cannot be read", REMEDY if denied else KERNEL
    elif found.rapl.reason:
        yield f"RAPL: {found.rapl.reason}", KERNEL


def _packages(found: MachineSurvey) -> Problems:
    for sensor in found.sensors:
        if sensor.reason is not None:
            name = sensor.name
            what = sensor.reason if name is None else f"sensor {name}: {sensor.reason}"
            yield what, f"see what {sensor.package or 'the package'} needs, or uninstall it"


def _nothing(found: MachineSurvey) -> Problems:
    blind = [meter for meter in found.meters if meter.source == "none"]
    for meter in blind:
        yield f"no joules for {meter.device}: {meter.reason}", WATTMETER
    if not found.meters:
        yield "no energy sensor answers here: joules will be null", WATTMETER


CHECKS = (_gpu_driver, _torch, _host, _packages, _nothing)
