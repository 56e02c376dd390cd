"""A GPU behind a fake of pynvml: real error classes, structures and constants."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import pynvml
from virtual_time import Clock

from stages.energy import Machine
from stages.energy.nvml_library import Nvml


@dataclass(frozen=True)
class Curve:
    """Power in W over time in s, and its antiderivative in J, both in closed form."""

    power: object
    energy: object


def constant(watts):
    return Curve(lambda t: watts, lambda t: watts * t)


def ramp(watts, per_s, origin):
    return Curve(
        lambda t: watts + per_s * (t - origin),
        lambda t: watts * t + per_s * (t - origin) ** 2 / 2,
    )


def sine(mean, swing, period):
    turn = 2 * math.pi / period
    return Curve(
        lambda t: mean + swing * math.sin(turn * t),
        lambda t: mean * t - swing / turn * math.cos(turn * t),
    )


def square(low, high, period):
    def energy(t):
        whole, part = divmod(t, period)
        half = period / 2
        return whole * half * (low + high) + low * min(part, half) + high * max(0, part - half)

    return Curve(lambda t: low if t % period < period / 2 else high, energy)


@dataclass
class FakeGpu:
    """Draws what `load` says; its sensors show the state of the last tick, cut to mJ and mW."""

    clock: Clock
    uuid: str = "GPU-5ca1ab1e-0000-0000-0000-000000000001"
    name: str = "NVIDIA Test GPU"
    tick_s: float = 0.1
    phase_s: float = 0.0123
    mig: bool = False
    module_w: float | None = None
    pids: list = field(default_factory=list)
    reasons: int = 0
    violation_ns: int = 0
    errors: dict = field(default_factory=dict)
    frozen: bool = False
    offset_mj: int = 7_000_000
    architecture: int = pynvml.NVML_DEVICE_ARCH_HOPPER

    def __post_init__(self):
        self.segments = []
        self.load(constant(60.0))

    def load(self, curve):
        now = self.clock.now_s
        before = self.joules(now) if self.segments else 0.0
        self.segments.append((now, curve, before))

    def joules(self, t):
        start, curve, before = self._segment(t)
        return before + curve.energy(t) - curve.energy(start)

    def watts(self, t):
        return self._segment(t)[1].power(t)

    def counter_mj(self):
        seen = self._tick() if not self.frozen else 1000.0
        return self.offset_mj + int(self.joules(seen) * 1000)

    def power_mw(self):
        """A last digit that never rests, as in real ones."""
        return int(self.watts(self._tick()) * 1000) + round(self._tick() / self.tick_s) % 3

    def _segment(self, t):
        return next((s for s in reversed(self.segments) if s[0] <= t), self.segments[0])

    def _tick(self):
        ticks = math.floor((self.clock.now_s - self.phase_s) / self.tick_s)
        return ticks * self.tick_s + self.phase_s


class FakeNvml:
    """The functions of pynvml that are used, by name and signature; constants are the real ones."""

    NVMLError = pynvml.NVMLError

    def __init__(self, *gpus):
        self.gpus = gpus
        self.instances = {}
        self.errors = {}
        self.calls = []

    def __getattr__(self, name):
        if name.startswith("NVML_"):
            return getattr(pynvml, name)
        raise AttributeError(name)

    def _check(self, name, gpu=None):
        self.calls.append(name)
        for errors in (self.errors, gpu.errors if gpu else {}):
            for key in (name, "*"):
                if key in errors:
                    raise pynvml.NVMLError(errors[key])

    def nvmlInit(self):  # noqa: N802
        self._check("nvmlInit")

    def nvmlShutdown(self):  # noqa: N802
        self._check("nvmlShutdown")

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        self._check("nvmlSystemGetDriverVersion")
        return "570.00"

    def nvmlDeviceGetCount(self):  # noqa: N802
        self._check("nvmlDeviceGetCount")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        self._check("nvmlDeviceGetHandleByIndex", self.gpus[index])
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        self._check("nvmlDeviceGetHandleByUUID")
        if uuid not in self.instances:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return uuid

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, migDevice):  # noqa: N802
        self._check("nvmlDeviceGetDeviceHandleFromMigDeviceHandle")
        return self.instances[migDevice]

    def nvmlDeviceGetUUID(self, handle):  # noqa: N802
        self._check("nvmlDeviceGetUUID", handle)
        return handle.uuid

    def nvmlDeviceGetName(self, handle):  # noqa: N802
        self._check("nvmlDeviceGetName", handle)
        return handle.name

    def nvmlDeviceGetArchitecture(self, device):  # noqa: N802
        self._check("nvmlDeviceGetArchitecture", device)
        return device.architecture

    def nvmlDeviceGetMigMode(self, device):  # noqa: N802
        self._check("nvmlDeviceGetMigMode", device)
        return [int(device.mig), int(device.mig)]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        self._check("nvmlDeviceGetTotalEnergyConsumption", handle)
        return handle.counter_mj()

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        self._check("nvmlDeviceGetPowerUsage", handle)
        return handle.power_mw()

    def nvmlDeviceGetFieldValues(self, handle, fieldIds):  # noqa: N802
        self._check("nvmlDeviceGetFieldValues", handle)
        values = (pynvml.c_nvmlFieldValue_t * len(fieldIds))()
        for value, (which, scope) in zip(values, fieldIds, strict=True):
            assert which == pynvml.NVML_FI_DEV_POWER_INSTANT
            value.valueType = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
            if "instant" in handle.errors:
                value.nvmlReturn = handle.errors["instant"]
            elif scope == pynvml.NVML_POWER_SCOPE_GPU:
                value.value.uiVal = handle.power_mw()
            elif handle.module_w is None:
                value.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
            else:
                value.value.uiVal = int(handle.module_w * 1000) + handle.power_mw()
        return values

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        self._check("nvmlDeviceGetComputeRunningProcesses", handle)
        return [SimpleNamespace(pid=pid) for pid in handle.pids]

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):  # noqa: N802
        self._check("nvmlDeviceGetCurrentClocksEventReasons", handle)
        return handle.reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):  # noqa: N802
        self._check("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return handle.reasons

    def nvmlDeviceGetViolationStatus(self, device, perfPolicyType):  # noqa: N802
        self._check("nvmlDeviceGetViolationStatus", device)
        thermal = perfPolicyType == pynvml.NVML_PERF_POLICY_THERMAL
        return SimpleNamespace(violationTime=device.violation_ns if thermal else 0)


def machine(clock, root, *gpus, environment=None, module=None):
    """A Machine with these GPUs, files under `root`, no torch, and virtual time."""
    module = module or FakeNvml(*gpus)
    return Machine(
        root=root,
        load_nvml=lambda: Nvml(module),
        torch_uuid=lambda index: None,
        environment=environment or {},
        timing=clock.timing,
    )
