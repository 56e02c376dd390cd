"""Meters of one NVIDIA GPU: its energy counter where that advances, else its power, sampled."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.energy.counter import CounterMeter, PlainCounter
from stages.energy.errors import NotSupportedError, SensorError
from stages.energy.meter import Meter, Sensor
from stages.energy.nvml_library import Gpu, Nvml, fields
from stages.energy.sampling import SampledMeter
from stages.energy.timing import REAL, Ticks, Timing, measure_tick

COUNTER_UNIT_J = 1e-3  # the counter is in mJ
MODULES = ("GH200", "GB200", "GB300")

# nvmlClocksEventReason*: what slows a GPU down, by bit.
SLOWED = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
POLICIES = {
    "NVML_PERF_POLICY_POWER": "power cap",
    "NVML_PERF_POLICY_THERMAL": "thermal limit",
    "NVML_PERF_POLICY_BOARD_LIMIT": "board limit",
}


@dataclass(frozen=True)
class Watch:
    """What else happened to a GPU: other processes, throttling, and what is true throughout."""

    nvml: Nvml
    gpu: Gpu
    always: tuple[str, ...] = ()

    def before(self) -> dict[str, float]:
        """Time so far in s during which each policy held the clocks down."""
        return {name: self._held(name) for name in POLICIES}

    def since(self, before: dict[str, float]) -> tuple[str, ...]:
        """Warnings. Raises DeviceLostError."""
        held = {name: self._held(name) - at for name, at in before.items()}
        throttled = [f"{POLICIES[name]} for {s:.2g} s" for name, s in held.items() if s > 0]
        now = self.nvml.attempt("nvmlDeviceGetCurrentClocksEventReasons", self.gpu.handle)
        if now is None:
            now = self.nvml.attempt("nvmlDeviceGetCurrentClocksThrottleReasons", self.gpu.handle)
        throttled += [f"{name} at the end" for bit, name in SLOWED.items() if (now or 0) & bit]
        warnings = (f"throttled: {', '.join(throttled)}",) if throttled else ()
        return (*self.always, *warnings, *self._company())

    def _held(self, policy: str) -> float:
        which = self.nvml.constant(policy)
        status = self.nvml.attempt("nvmlDeviceGetViolationStatus", self.gpu.handle, which)
        return 0.0 if status is None else status.violationTime / 1e9

    def _company(self) -> tuple[str, ...]:
        running = self.nvml.attempt("nvmlDeviceGetComputeRunningProcesses", self.gpu.handle)
        others = strangers([process.pid for process in running or ()])
        if not others:
            return ()
        pids = ", ".join(map(str, others))
        return (f"another process on the device, its energy is counted too: pid {pids}",)


def strangers(pids: list[int], own: int | None = None, proc: Path = Path("/proc")) -> list[int]:
    """Processes on a GPU that are not this one.

    In a container NVML may list this process under a pid of the host: one unknown pid may be us.
    """
    own = os.getpid() if own is None else own
    others = sorted(set(pids) - {own})
    alone = own not in pids and len(others) == 1
    return [] if alone and not (proc / str(others[0])).exists() else others


class _Watched:
    """Adds a GPU's warnings to a meter's windows."""

    watch: Watch

    def prepare(self) -> dict[str, float]:
        """Throttling so far. Raises SensorError."""
        return self.watch.before()

    def conditions(self, before: dict[str, float]) -> tuple[str, ...]:
        """Throttling since, other processes, MIG, module scope. Raises SensorError."""
        return self.watch.since(before)

    def close(self) -> None:
        """Let go of the library."""
        self.watch.nvml.close()


class GpuCounter(_Watched, CounterMeter):
    """nvmlDeviceGetTotalEnergyConsumption."""


class GpuPower(_Watched, SampledMeter):
    """NVML_FI_DEV_POWER_INSTANT, or nvmlDeviceGetPowerUsage where that is all there is."""


def open_gpu(
    nvml: Nvml,
    gpu: Gpu,
    source: str | None = None,
    timing: Timing = REAL,
    warnings: tuple[str, ...] = (),
) -> Meter:
    """The GPU's counter if it answers and advances, else its power; `source` asks for one of them.

    `warnings` go with every reading. Raises SensorError with what was tried.
    """
    tried = []
    for name, opening in SOURCES.items():
        if source in (None, name):
            try:
                return opening(nvml, gpu, timing, warnings)
            except SensorError as error:
                tried.append(str(error))
    raise NotSupportedError(f"{gpu.name} gives neither: {'; '.join(tried)}")


def _counter(nvml: Nvml, gpu: Gpu, timing: Timing, warnings: tuple[str, ...]) -> Meter:
    def joules() -> float:
        return float(nvml.call("nvmlDeviceGetTotalEnergyConsumption", gpu.handle)) / 1e3

    ticks = measure_tick(joules, timing)
    if ticks.steps == 0 or ticks.went_back:
        does = "goes back" if ticks.went_back else "does not advance"
        raise NotSupportedError(f"nvmlDeviceGetTotalEnergyConsumption answers but {does}")
    module = is_module(nvml, gpu)
    always = warnings + _always(gpu, module)
    try:
        watts, note = power_reader(nvml, gpu, module)
    except SensorError as error:
        watts, note = None, f"no power beside the counter, the window's mean stands in: {error}"
    sensor = _sensor("nvml_counter", nvml, gpu, ticks, "module" if module else "gpu")
    meter = GpuCounter(sensor, lambda: PlainCounter(joules), watts, COUNTER_UNIT_J, timing)
    meter.watch = Watch(nvml, gpu, (*always, note) if note else always)
    return meter


def _power(nvml: Nvml, gpu: Gpu, timing: Timing, warnings: tuple[str, ...]) -> Meter:
    watts, note = power_reader(nvml, gpu)
    ticks = measure_tick(watts, timing)
    sensor = _sensor("nvml_power", nvml, gpu, ticks, "gpu")
    meter = GpuPower(sensor, watts, timing=timing)
    always = warnings + _always(gpu, False)
    meter.watch = Watch(nvml, gpu, (*always, note) if note else always)
    return meter


SOURCES: dict[str, Callable[[Nvml, Gpu, Timing, tuple[str, ...]], Meter]] = {
    "nvml_counter": _counter,
    "nvml_power": _power,
}


def _sensor(source: str, nvml: Nvml, gpu: Gpu, ticks: Ticks, scope: str) -> Sensor:
    return Sensor(source, scope, gpu.name, gpu.uuid, nvml.driver(), ticks.tick_s)


def _always(gpu: Gpu, module: bool) -> tuple[str, ...]:
    warnings = []
    if gpu.mig:
        warnings.append("MIG: the sensor covers the whole GPU, not the instance in use")
    if module:
        warnings.append("module scope: the counter covers CPU and memory beside the GPU")
    return tuple(warnings)


def is_module(nvml: Nvml, gpu: Gpu) -> bool:
    """Whether the GPU shares a module with a CPU, so that its energy counter covers both.

    A driver that ignores the scope gives the GPU's own power for the module's.
    """
    if any(name in gpu.name for name in MODULES):
        return True
    which = nvml.constant("NVML_FI_DEV_POWER_INSTANT")
    scopes = [nvml.constant(f"NVML_POWER_SCOPE_{name}") for name in ("GPU", "MODULE")]
    try:
        alone, all_of_it = fields(nvml, gpu.handle, [(which, scope) for scope in scopes])
    except SensorError:
        return False
    return all_of_it > alone


def power_reader(
    nvml: Nvml, gpu: Gpu, module: bool = False
) -> tuple[Callable[[], float], str | None]:
    """A function that gives W, and a warning about it or None. Raises SensorError."""
    scope = "NVML_POWER_SCOPE_MODULE" if module else "NVML_POWER_SCOPE_GPU"

    def instant() -> float:
        return _instant(nvml, gpu, scope)

    def usage() -> float:
        return float(nvml.call("nvmlDeviceGetPowerUsage", gpu.handle)) / 1e3

    try:
        instant()
    except SensorError:
        usage()
        return usage, _averaged(nvml, gpu)
    return instant, None


def _instant(nvml: Nvml, gpu: Gpu, scope: str) -> float:
    which = nvml.constant("NVML_FI_DEV_POWER_INSTANT")
    return fields(nvml, gpu.handle, [(which, nvml.constant(scope))])[0] / 1e3


def _averaged(nvml: Nvml, gpu: Gpu) -> str | None:
    architecture: Any = nvml.attempt("nvmlDeviceGetArchitecture", gpu.handle)
    if architecture is None or architecture < nvml.constant("NVML_DEVICE_ARCH_AMPERE"):
        return None
    return "power is an average over 1 s on this architecture: short changes are smeared"
