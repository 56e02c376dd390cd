"""NVIDIA's management library: which GPUs there are, and which of them torch means by cuda:N."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.energy.errors import DeviceLostError, SensorError, SensorMissingError, from_nvml

INSTALL = "pip install 'cascade-cli[extract]'"


class Nvml:
    """pynvml with typed exceptions; `module` is pynvml, or a fake of it in tests."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.call("nvmlInit")

    def call(self, name: str, *args: Any) -> Any:
        """`module.name(*args)`. Raises SensorError."""
        try:
            return getattr(self.module, name)(*args)
        except self.module.NVMLError as error:
            raise from_nvml(error, name) from error
        except AttributeError as error:
            raise SensorMissingError(f"{name}: this pynvml lacks it: {INSTALL}") from error

    def constant(self, name: str) -> int:
        """A constant of the library."""
        return int(getattr(self.module, name))

    def attempt(self, name: str, *args: Any) -> Any:
        """`call`, None where this device or user cannot have it; a lost device is still raised."""
        try:
            return self.call(name, *args)
        except DeviceLostError:
            raise
        except SensorError:
            return None

    def driver(self) -> str | None:
        """The driver's version."""
        found = self.attempt("nvmlSystemGetDriverVersion")
        return None if found is None else _text(found)

    def close(self) -> None:
        """Let go of the library."""
        self.attempt("nvmlShutdown")


@dataclass(frozen=True)
class Gpu:
    """A physical GPU; `mig` where it is cut into instances. `handle` is NVML's."""

    index: int
    uuid: str
    name: str
    handle: Any
    mig: bool = False


def load() -> Nvml:
    """The library. Raises SensorMissingError, or what NVML says against it."""
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the retired package of this name warns on import
            import pynvml
    except ImportError as error:
        raise SensorMissingError(f"the package nvidia-ml-py is missing: {INSTALL}") from error
    return Nvml(pynvml)


def gpus(nvml: Nvml) -> list[Gpu]:
    """The GPUs that answer, in NVML's order, that of the PCI bus. Raises SensorError.

    A lost GPU is left out, as CUDA does, unless it is the only one.
    """
    found, lost = [], None
    for index in range(nvml.call("nvmlDeviceGetCount")):
        try:
            handle = nvml.call("nvmlDeviceGetHandleByIndex", index)
            found.append(_gpu(nvml, index, handle))
        except DeviceLostError as error:
            lost = error
    if lost is not None and not found:
        raise lost
    return found


def _gpu(nvml: Nvml, index: int, handle: Any) -> Gpu:
    uuid, name = (_text(nvml.call(f"nvmlDeviceGet{what}", handle)) for what in ("UUID", "Name"))
    mode = nvml.attempt("nvmlDeviceGetMigMode", handle)
    return Gpu(index, uuid, name, handle, mig=bool(mode and mode[0]))


def gpu_name(index: int) -> str | None:
    """What cuda:`index` is called, None where NVML does not tell."""
    try:
        nvml = load()
        return match(nvml, index, gpus(nvml), os.environ, torch_uuid(index))[0].name
    except SensorError:
        return None


def match(
    nvml: Nvml,
    index: int,
    found: Sequence[Gpu],
    environment: Mapping[str, str],
    torch_uuid: str | None = None,
) -> tuple[Gpu, tuple[str, ...]]:
    """The GPU behind cuda:`index`, and warnings about the match.

    torch's UUID decides where torch tells it; else CUDA_VISIBLE_DEVICES, whose entries are indices,
    (prefixes of) UUIDs or MIG ids. Raises SensorMissingError.
    """
    for gpu in found:
        if gpu.uuid.removeprefix("GPU-") == torch_uuid:
            return gpu, ()
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    order = environment.get("CUDA_DEVICE_ORDER")
    if visible is None:
        entries = [str(gpu.index) for gpu in found]
    else:
        entries = [each.strip() for each in visible.split(",") if each.strip()]
    matched = _until_invalid(nvml, entries, found)
    if index >= len(matched):
        raise SensorMissingError(
            f"cuda:{index} is not among the {len(matched)} devices of "
            f"CUDA_VISIBLE_DEVICES={visible if visible is not None else '(unset)'}"
        )
    by_number = entries[index].isdigit() and len({gpu.name for gpu in found}) > 1
    if by_number and order != "PCI_BUS_ID":
        unsure = "unlike GPUs are numbered by speed in CUDA and by bus in NVML"
        return matched[index], (f"{unsure}: set CUDA_DEVICE_ORDER=PCI_BUS_ID",)
    return matched[index], ()


def _until_invalid(nvml: Nvml, entries: Sequence[str], found: Sequence[Gpu]) -> list[Gpu]:
    """As CUDA reads the list: nothing after the first entry that names no device counts."""
    matched: list[Gpu] = []
    for entry in entries:
        gpu = _named(nvml, entry, found)
        if gpu is None:
            break
        matched.append(gpu)
    return matched


def _named(nvml: Nvml, entry: str, found: Sequence[Gpu]) -> Gpu | None:
    if entry.isdigit():
        return next((gpu for gpu in found if gpu.index == int(entry)), None)
    if entry.startswith("MIG-GPU-"):  # the form before driver 470: MIG-GPU-uuid/gi/ci
        entry = entry.removeprefix("MIG-").split("/")[0]
    elif entry.startswith("MIG-"):
        return _parent(nvml, entry, found)
    same = [gpu for gpu in found if gpu.uuid.startswith(entry)]
    return same[0] if len(same) == 1 else None


def _parent(nvml: Nvml, entry: str, found: Sequence[Gpu]) -> Gpu | None:
    instance = nvml.attempt("nvmlDeviceGetHandleByUUID", entry)
    if instance is None:
        return None
    whole = nvml.call("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", instance)
    uuid = _text(nvml.call("nvmlDeviceGetUUID", whole))
    return next((gpu for gpu in found if gpu.uuid == uuid), None)


def torch_uuid(index: int) -> str | None:
    """The UUID that torch gives cuda:`index`, None where torch is not loaded or does not tell."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or index >= torch.cuda.device_count():
        return None
    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    return None if uuid is None else str(uuid)


def instant_power(nvml: Nvml, handle: Any, *scopes: str) -> list[float]:
    """W of each scope, GPU or MODULE, read in one call. Raises SensorError."""
    which = nvml.constant("NVML_FI_DEV_POWER_INSTANT")
    asked = [(which, nvml.constant(f"NVML_POWER_SCOPE_{scope}")) for scope in scopes]
    found = nvml.call("nvmlDeviceGetFieldValues", handle, asked)
    return [_value(nvml, *each) / 1e3 for each in zip(found, asked, strict=True)]


# By NVML_VALUE_TYPE_*.
VALUE_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


def _value(nvml: Nvml, value: Any, which: tuple[int, int]) -> float:
    if value.nvmlReturn != nvml.constant("NVML_SUCCESS"):
        error = nvml.module.NVMLError(value.nvmlReturn)
        raise from_nvml(error, f"nvmlDeviceGetFieldValues(field {which[0]}, scope {which[1]})")
    return float(getattr(value.value, VALUE_MEMBERS[value.valueType]))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
