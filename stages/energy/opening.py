"""The best meter for each device in use, and the host's beside it; never none without a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cache import InputError
from stages import plugins
from stages.energy import nvml_library
from stages.energy.errors import SensorError, SensorMissingError
from stages.energy.gpu_meters import SOURCES, open_gpu
from stages.energy.machine import Machine
from stages.energy.manual import ManualMeter, from_terminal, given
from stages.energy.meter import Meter, NoMeter
from stages.energy.plugged import open_named, or_added
from stages.energy.sensor_kind import SensorKind
from stages.plugins import of_this_project

# The host's sensors, by name as `module:attribute`, in the order in which they are tried.
MODULES: Mapping[str, str] = {
    "rapl": "stages.energy.rapl:RAPL",
    "jetson": "stages.energy.jetson:JETSON",
}
HOST: Mapping[str, SensorKind] = {
    name: one.item for name, one in of_this_project(plugins.SENSORS, MODULES).items()
}
EXPLICIT = (*HOST, "manual", "none")
NAMES = ("nvml", *SOURCES, *EXPLICIT)
DOCTOR = "`cascade doctor` says more"


def open_meters(
    devices: Iterable[object] = ("cpu",), prefer: str | None = None, machine: Machine | None = None
) -> list[Meter]:
    """Meters for torch devices ("cuda:0", torch.device("cpu"), or a GPU's UUID), the host's last.

    One for each distinct device, in order, then the host's where it is readable and not among them.
    What cannot be measured has a NoMeter with the reason. `prefer` is nvml, nvml_counter,
    nvml_power, rapl, jetson, manual (asks), manual:BEFORE,AFTER, none, or a sensor that a package
    adds; without it such a sensor is opened only where nothing built in does. Raises InputError
    when what was asked for is not there.
    """
    machine = machine or Machine()
    wanted = list(dict.fromkeys(str(device) for device in devices)) or ["cpu"]
    kind, _, readings = (prefer or "").partition(":")
    if prefer is not None and kind not in NAMES:
        return [open_named(prefer, device, machine, NAMES) for device in wanted]
    if kind in EXPLICIT:
        return [_asked(kind, readings, machine)]
    meters = [_for_device(device, kind, machine) for device in wanted]
    for i, meter in enumerate(meters):
        if isinstance(meter, NoMeter):
            if prefer is not None:
                raise InputError(f"no meter {prefer!r}: {meter.reason}")
            meters[i] = or_added(meter, wanted[i], machine, NAMES)
    return meters + _beside(wanted, meters, machine)


def _asked(kind: str, readings: str, machine: Machine) -> Meter:
    if kind == "none":
        return NoMeter("energy was not to be measured", timing=machine.timing)
    if kind == "manual":
        return ManualMeter(given(readings) if readings else from_terminal, machine.timing)
    try:
        return HOST[kind].open("cpu", machine)
    except SensorError as error:
        raise InputError(f"no meter {kind!r}: {error}") from error


def _for_device(device: str, asked: str, machine: Machine) -> Meter:
    kind = "cuda" if device.startswith(("GPU-", "MIG-")) else device.partition(":")[0]
    if kind == "cpu" and not asked.startswith("nvml_"):
        return _host(machine)
    if kind == "cuda":
        kinds = [SensorKind("nvml", lambda device, machine: _nvml(device, asked, machine))]
        return _first(kinds if asked else [*kinds, HOST["jetson"]], device, machine)
    reason = f"no such sensor for {device}: an external wattmeter can stand in (manual)"
    return NoMeter(reason, device, machine.timing)


def _nvml(device: str, asked: str, machine: Machine) -> Meter:
    environment, index, uuid = {"CUDA_VISIBLE_DEVICES": device}, 0, None
    library = machine.load_nvml()
    try:
        found = nvml_library.gpus(library)
        if not device.startswith(("GPU-", "MIG-")):
            index = int(device.partition(":")[2] or 0)
            environment, uuid = machine.environment, machine.torch_uuid(index)
        gpu, warnings = nvml_library.match(library, index, found, environment, uuid)
        source = asked if asked in SOURCES else None
        return open_gpu(library, gpu, source, machine.timing, warnings)
    except SensorError:
        library.close()
        raise


def _host(machine: Machine) -> Meter:
    return _first(tuple(HOST.values()), "cpu", machine)


def _first(kinds: Sequence[SensorKind], device: str, machine: Machine) -> Meter:
    """The first meter that opens; else the first reason, and later ones of sensors that exist."""
    reasons: list[str] = []
    for kind in kinds:
        try:
            return kind.open(device, machine)
        except SensorError as error:
            if not (reasons and isinstance(error, SensorMissingError)):
                reasons.append(str(error))
    return NoMeter(f"{'; '.join(reasons)} ({DOCTOR})", device, machine.timing)


def _beside(wanted: Sequence[str], meters: Sequence[Meter], machine: Machine) -> list[Meter]:
    """The host's meter, unless it is there already or covered by a board's or module's."""
    covered = {"package", "rail", "module", "board", "system"}
    if "cpu" in wanted or any(meter.sensor.scope in covered for meter in meters):
        return []
    host = _host(machine)
    return [] if isinstance(host, NoMeter) else [host]
