"""What every engine offers, which engines there are, and what a runtime's name says.

The modules of ENGINES each have the functions of `RuntimeEngine`; whatever else runs models goes
through the ones here, which ask the engine of the device. The arrays that an engine computes with
are its own (torch's tensors, numpy's arrays) and only pass through.
"""

from __future__ import annotations

import gc
import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, cast

import numpy as np

from cache import InputError, Provenance, one_of
from stages.runtimes.preprocess import Preprocessing

Array = Any
"""An engine's own kind of array, on its device."""

DEFAULT_BATCH = {"cpu": 64, "cuda": 256}
# Of a batch on a CPU, whose caches larger activations leave: at 224×224 a batch of 64 took 1.3
# (resnet50) to 3 times (mobilenet_v2) as long an image as one of 16.
_CPU_PIXELS = 1 << 20
# By the names of torch's types.
PRECISIONS = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}
INT8 = "int8"  # of files alone
_TORCH, _ONNX, _TENSORRT = "torch", "onnxruntime", "tensorrt"
ENGINES: Mapping[str, str] = {
    _TORCH: "stages.runtimes.torch_engine",
    _ONNX: "stages.runtimes.onnx_engine",
    _TENSORRT: "stages.runtimes.tensorrt_engine",
}
# A runtime of each, the module that it needs, what that is called, and the extra that brings it.
_LIBRARIES = {
    _TORCH: ("torch-fp32-cpu", "torch", "PyTorch", "extract"),
    _ONNX: ("onnxruntime-fp32-cpu", "onnxruntime", "ONNX Runtime", "onnx"),
    _TENSORRT: ("tensorrt-fp16-cuda", "onnxruntime", "ONNX Runtime", "onnx"),
}


class Device(Protocol):
    """What models run on: torch.device, or another engine's own, which names that as `engine`."""

    @property
    def type(self) -> str: ...


class ModelRunner(Protocol):
    """One model on one device: pixels in, float32 logits out."""

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def device(self) -> Device: ...

    @property
    def parameters(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Of its weights and buffers."""

    def upload(self, pixels: np.ndarray) -> Array:
        """uint8 [B, C, h, w] in host memory → the normalised input on the device."""

    def normalised(self, pixels: Array) -> Array:
        """uint8 [B, C, h, w] on the device → the model's input."""

    def logits(self, batch: Array) -> Array:
        """Normalised input [B, C, h, w] → float32 [B, K], both on the device."""

    def host_logits(self, batch: Array) -> np.ndarray:
        """float32 [n, K] of a batch on the device, on the host."""

    def answers(self, batch: Array, score: str = "maxp") -> dict[str, np.ndarray]:
        """Answers and scores of a batch on the device, on the host: what a request waits for.

        The rule's own scores, and `score` where that is a package's.
        """


class Stopwatch:
    """Milliseconds of consecutive laps between an engine's marks.

    Marks cost no synchronisation; `read` waits for the device once for all laps.
    """

    def __init__(
        self,
        mark: Callable[[], Any],
        elapsed_ms: Callable[[Any, Any], float],
        synchronise: Callable[[], None],
    ) -> None:
        self._mark, self._elapsed, self._sync = mark, elapsed_ms, synchronise
        self._laps: list[Callable[[], float]] = []
        self._start: Any = None

    @classmethod
    def by_clock(cls, synchronise: Callable[[], None]) -> Stopwatch:
        """A monotonic clock, read when the device has done all that it had to."""

        def mark() -> int:
            synchronise()
            return time.perf_counter_ns()

        return cls(mark, lambda start, end: (end - start) / 1e6, synchronise)

    def start(self) -> None:
        self._start = self._mark()

    def stop(self) -> None:
        self._laps.append(partial(self._elapsed, self._start, self._mark()))

    def add(self, ms: float) -> None:
        """A lap that was taken elsewhere."""
        self._laps.append(lambda: ms)

    def read(self) -> list[float]:
        """The laps since the last read, in ms."""
        self._sync()
        laps, self._laps = self._laps, []
        return [lap() for lap in laps]

    def keep(self, laps: int) -> None:
        """Forget all laps since the last read but the first few."""
        del self._laps[laps:]


class RuntimeEngine(Protocol):
    """The functions of an engine's module; `CPU` is its device there."""

    CPU: Device

    def open_device(self, name: str | None, precision: str = "fp32") -> Device:
        """The named device, else the best; InputError for what cannot be used."""

    def device_name(self, device: Device) -> str:
        """What the hardware is called, which costs are told apart by."""

    def settings(self, device: Device) -> Provenance:
        """How it is set up, beyond the runtime's name and the versions: part of provenance."""

    def runner_of(
        self, model: Any, preprocessing: Preprocessing, device: Device, precision: str = "fp32"
    ) -> ModelRunner:
        """The model, as stages.models loads it, on the device."""

    def on_host(self, pixels: np.ndarray, device: Device) -> Array:
        """Where the device takes it from quickest."""

    def to_device(self, host: Array, device: Device) -> Array: ...

    def empty(self, shape: tuple[int, int], device: Device | str) -> Array:
        """float32."""

    def to_numpy(self, array: Array) -> np.ndarray: ...

    def stopwatch(self, device: Device) -> Stopwatch: ...

    def synchroniser(self, device: Device) -> Callable[[], None]:
        """Waits until the device has finished what it was given."""

    def threads(self, device: Device) -> int:
        """So many of this process compute a pass together; 1 where that is the device's affair."""

    def on_threads(self, device: Device, count: int) -> Device:
        """The device, whose passes take so many threads from now on."""

    def beside(self, runner: Any) -> ModelRunner | None:
        """One that may run while the runner does, on the same weights; None where none may."""

    def release(self, device: Device) -> None:
        """Give back memory that the engine keeps though nothing uses it."""

    def free_bytes(self, device: Device) -> int | None:
        """Memory that a model could still take on the device, None where nothing tells."""

    def peak_memory(self, call: Callable[[], object], runner: ModelRunner) -> int | None:
        """Bytes of the model and its largest activations during a call, None where unknown."""


def engine_of(device: Device) -> RuntimeEngine:
    """The engine whose device it is."""
    return cast(RuntimeEngine, import_module(ENGINES[engine_name(device)]))


def engine_name(device: Device) -> str:
    return str(getattr(device, "engine", _TORCH))


def open_device(name: str | None, precision: str = "fp32", engine: str = _TORCH) -> Device:
    """The engine's device of that name, else its best."""
    return cast(RuntimeEngine, import_module(ENGINES[engine])).open_device(name, precision)


def runtime_name(device: Device, precision: str) -> str:
    """`torch-fp32-cpu`: engine, precision and kind of device."""
    return f"{engine_name(device)}-{precision}-{device.type}"


def said_by(runtime: str) -> tuple[str, str, str] | None:
    """Engine, precision and kind of device, None for a name that is no engine's here."""
    found = re.fullmatch(rf"({'|'.join(ENGINES)})-([a-z]+\d+)-([a-z]+)", runtime)
    return (found[1], found[2], found[3]) if found else None


def usual_engine() -> str:
    """torch, or what is installed in its place."""
    return next((name for name in ENGINES if _installed(name)), _TORCH)


def _installed(engine: str) -> bool:
    return find_spec(_LIBRARIES[engine][1]) is not None


def require_engine(runtime: str | None) -> None:
    """InputError where the runtime, by default the usual engine's, is none of ours or not
    installed."""
    said = said_by(runtime or f"{usual_engine()}-fp32-cpu")
    if said is None:
        raise one_of("runtime", str(runtime), [known[0] for known in _LIBRARIES.values()])
    if not _installed(said[0]):
        here = [known[0] for name, known in _LIBRARIES.items() if _installed(name)]
        instead = f", or give --runtime {here[0]}" if here else ""
        raise InputError(f"{not_installed(*_LIBRARIES[said[0]][2:])}{instead}")


def not_installed(what: str, extra: str) -> InputError:
    """The line that names the extra which brings it."""
    return InputError(
        f"{what} is not installed: run pip install 'cascade-cli[{extra}]', or in a clone "
        f"pip install '.[{extra}]'"
    )


def default_batch(kind: str, size: tuple[int, int] | None) -> int:
    """Images per pass on a kind of device, of pictures of this size (None: as they are).

    >>> default_batch("cpu", (32, 32)), default_batch("cpu", (224, 224))
    (64, 16)
    """
    usual = DEFAULT_BATCH.get(kind, 64)
    if kind != "cpu" or size is None:
        return usual
    fits = max(1, _CPU_PIXELS // (size[0] * size[1]))
    return min(usual, 1 << fits.bit_length() - 1)


def device_name(device: Device) -> str:
    return engine_of(device).device_name(device)


def synchroniser(device: Device) -> Callable[[], None]:
    """Waits until the device has finished what it was given; nothing to wait for on a CPU."""
    return engine_of(device).synchroniser(device)


def runner_of(
    model: Any, preprocessing: Preprocessing, device: Device, precision: str = "fp32"
) -> ModelRunner:
    """The model, as stages.models loads it, on the device."""
    return engine_of(device).runner_of(model, preprocessing, device, precision)


def release(device: Device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    engine_of(device).release(device)


def free_bytes(device: Device) -> int | None:
    """Memory that a model could still take on the device, None where nothing tells."""
    return engine_of(device).free_bytes(device)


# Where Linux tells what the processor, or the board that it sits on, is called and can do.
_NAMED = {"/proc/cpuinfo": r"^model name\s*:\s*(.+)$", "/proc/device-tree/model": r"^([^\0]+)"}
_ABLE = r"^(?:flags|Features)\s*:\s*(.+)$"
# What decides which int8 and float32 kernels run.
_KERNELS = {
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve"),
}
_SUMS_IN_32_BITS = {"avx512_vnni", "avx_vnni", "amx_int8"}


def processor() -> str:
    """The name of this machine's processor, `cpu` where nothing tells it."""
    found = (_told(*each) for each in _NAMED.items())
    return next(filter(None, found), platform.processor() or platform.machine() or "cpu")


def processor_flags() -> list[str]:
    """Those of its instruction sets that decide which kernels run, as Linux calls them."""
    return sorted(_KERNELS.intersection((_told("/proc/cpuinfo", _ABLE) or "").split()))


def int8_saturates() -> bool:
    """Whether sums of unsigned × signed int8 products are cut off at 16 bits: x86 without VNNI, as
    far as anything tells."""
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    return x86 and _SUMS_IN_32_BITS.isdisjoint(processor_flags())


def _told(path: str, pattern: str) -> str | None:
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        found = re.search(pattern, file.read(), re.MULTILINE)
    return found[1].strip() if found else None
