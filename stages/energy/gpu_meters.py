"""Meters of one NVIDIA GPU: its energy counter where that advances, else its power, sampled."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.energy.counter import CounterMeter, PlainCounter
from stages.energy.errors import SensorError
from stages.energy.meter import Meter, Sensor
from stages.energy.nvml_library import Gpu, Nvml, instant_power
from stages.energy.sampling import SampledMeter
from stages.energy.timing import Ticks, Timing, measure_tick

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


def strangers(pids: list[int], own: int | None = None, proc: Path = Path("/proc")) -> list[int]:
    """Processes on a GPU that are not this one.

    In a container NVML may list this process under a pid of the host: one unknown pid may be us.
    """
    own = os.getpid() if own is None else own
    others = sorted(set(pids) - {own})
    alone = own not in pids and len(others) == 1
    return [] if alone and not (proc / str(others[0])).exists() else others


class _OfGpu(Meter):
    """Adds to a meter's windows what else happened to the GPU, and what is true throughout."""

    nvml: Nvml
    gpu: Gpu
    always: tuple[str, ...] = ()

    def prepare(self) -> dict[str, float]:
        """Time so far in s during which each policy held the clocks down. Raises SensorError."""
        return {name: self._held(name) for name in POLICIES}

    def conditions(self, before: dict[str, float]) -> tuple[str, ...]:
        """Throttling since, other processes, MIG, module scope. Raises SensorError."""
        held = {name: self._held(name) - at for name, at in before.items()}
        throttled = [f"{POLICIES[name]} for {s:.2g} s" for name, s in held.items() if s > 0]
        now = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if now is None:
            now = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        throttled += [f"{name} at the end" for bit, name in SLOWED.items() if (now or 0) & bit]
        warnings = [f"throttled: {', '.join(throttled)}"] if throttled else []
        running = self._ask("nvmlDeviceGetComputeRunningProcesses")
        if others := strangers([process.pid for process in running or ()]):
            pids = ", ".join(map(str, others))
            warnings.append(f"another process on the device, its energy is counted too: pid {pids}")
        return (*self.always, *warnings)

    def close(self) -> None:
        """Let go of the library."""
        self.nvml.close()

    def _held(self, policy: str) -> float:
        status = self._ask("nvmlDeviceGetViolationStatus", self.nvml.constant(policy))
        return 0.0 if status is None else status.violationTime / 1e9

    def _ask(self, name: str, *args: int) -> Any:
        return self.nvml.attempt(name, self.gpu.handle, *args)


class GpuCounter(_OfGpu, CounterMeter):
    """nvmlDeviceGetTotalEnergyConsumption."""


class GpuPower(_OfGpu, SampledMeter):
    """NVML_FI_DEV_POWER_INSTANT, or nvmlDeviceGetPowerUsage where that is all there is."""


def open_gpu(
    nvml: Nvml, gpu: Gpu, source: str | None, timing: Timing, warnings: tuple[str, ...]
) -> Meter:
    """The GPU's counter if it answers and advances, else its power; `source` asks for one of them.

    `warnings` go with every reading. Raises SensorError with what was tried.
    """
    if gpu.mig:
        warnings += ("MIG: the sensor covers the whole GPU, not the instance in use",)
    tried = []
    for opening in SOURCES.values() if source is None else [SOURCES[source]]:
        try:
            meter = opening(nvml, gpu, timing)
        except SensorError as error:
            tried.append(str(error))
        else:
            meter.nvml, meter.gpu, meter.always = nvml, gpu, warnings + meter.always
            return meter
    raise SensorError(f"{gpu.name} gives neither: {'; '.join(tried)}")


def _counter(nvml: Nvml, gpu: Gpu, timing: Timing) -> GpuCounter:
    def joules() -> float:
        return float(nvml.call("nvmlDeviceGetTotalEnergyConsumption", gpu.handle)) / 1e3

    ticks = measure_tick(joules, timing)
    if ticks.steps == 0 or ticks.went_back:
        does = "goes back" if ticks.went_back else "does not advance"
        raise SensorError(f"nvmlDeviceGetTotalEnergyConsumption answers but {does}")
    module = is_module(nvml, gpu)
    always = ("module scope: the counter covers CPU and memory beside the GPU",) if module else ()
    try:
        watts, notes = power_reader(nvml, gpu, "MODULE" if module else "GPU")
    except SensorError as error:
        watts = None
        notes = (f"no power beside the counter, the window's mean stands in: {error}",)
    sensor = _sensor("nvml_counter", nvml, gpu, ticks, "module" if module else "gpu")
    meter = GpuCounter(sensor, lambda: PlainCounter(joules), watts, COUNTER_UNIT_J, timing)
    meter.always = always + notes
    return meter


def _power(nvml: Nvml, gpu: Gpu, timing: Timing) -> GpuPower:
    watts, notes = power_reader(nvml, gpu)
    sensor = _sensor("nvml_power", nvml, gpu, measure_tick(watts, timing), "gpu")
    meter = GpuPower(sensor, watts, timing=timing)
    meter.always = notes
    return meter


SOURCES: dict[str, Callable[[Nvml, Gpu, Timing], GpuCounter | GpuPower]] = {
    "nvml_counter": _counter,
    "nvml_power": _power,
}


def _sensor(source: str, nvml: Nvml, gpu: Gpu, ticks: Ticks, scope: str) -> Sensor:
    return Sensor(source, scope, gpu.name, gpu.uuid, nvml.driver(), ticks.tick_s)


def is_module(nvml: Nvml, gpu: Gpu) -> bool:
    """Whether the GPU shares a module with a CPU, so that its energy counter covers both.

    A driver that ignores the scope gives the GPU's own power for the module's.
    """
    if any(name in gpu.name for name in MODULES):
        return True
    try:
        alone, all_of_it = instant_power(nvml, gpu.handle, "GPU", "MODULE")
    except SensorError:
        return False
    return all_of_it > alone


def power_reader(
    nvml: Nvml, gpu: Gpu, scope: str = "GPU"
) -> tuple[Callable[[], float], tuple[str, ...]]:
    """A function that gives W, and warnings about it. Raises SensorError."""

    def instant() -> float:
        return instant_power(nvml, gpu.handle, scope)[0]

    def usage() -> float:
        return float(nvml.call("nvmlDeviceGetPowerUsage", gpu.handle)) / 1e3

    try:
        instant()
    except SensorError:
        usage()
        return usage, _averaged(nvml, gpu)
    return instant, ()


def _averaged(nvml: Nvml, gpu: Gpu) -> tuple[str, ...]:
    architecture: Any = nvml.attempt("nvmlDeviceGetArchitecture", gpu.handle)
    if architecture is None or architecture < nvml.constant("NVML_DEVICE_ARCH_AMPERE"):
        return ()
    return ("power is an average over 1 s on this architecture: short changes are smeared",)
