"""One model on one device: pixels in, float32 logits out. extract and live both run this."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from cache import InputError
from stages.datasets import Source
from stages.runtimes.memory import keep_freed
from stages.runtimes.preprocess import Preprocessing
from stages.scores import answered

PRECISIONS = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
DEFAULT_BATCH = {"cpu": 64, "cuda": 256}


def open_device(name: str | None, precision: str = "fp32") -> torch.device:
    """The named device, else a CUDA GPU, else the CPU; TF32 is on only where it is asked for."""
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}: choose from {', '.join(PRECISIONS)}")
    tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).item()  # some devices hold shapes but no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot use device {name!r} ({reason}): give --device cpu") from error
    if tf32 and device.type != "cuda":
        raise InputError(f"tf32 exists on CUDA devices only, not on {device.type}: use fp32")
    return device


def runtime_name(device: torch.device, precision: str) -> str:
    """`torch-fp32-cpu`: engine, precision and kind of device."""
    return f"torch-{precision}-{device.type}"


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"{processor()}, {torch.get_num_threads()} threads"
    return device.type


# Where Linux tells what the processor, or the board that it sits on, is called.
_NAMED = {"/proc/cpuinfo": r"^model name\s*:\s*(.+)$", "/proc/device-tree/model": r"^([^\0]+)"}


def processor() -> str:
    """The name of this machine's processor, `cpu` where nothing tells it."""
    for path, pattern in _NAMED.items():
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                found = re.search(pattern, file.read(), re.MULTILINE)
            if found:
                return found[1].strip()
    return platform.processor() or platform.machine() or "cpu"


@dataclass(frozen=True)
class Runner:
    """A module in eval mode on a device."""

    module: torch.nn.Module
    preprocessing: Preprocessing
    device: torch.device
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(
        cls,
        module: torch.nn.Module,
        preprocessing: Preprocessing,
        device: torch.device,
        precision: str = "fp32",
    ) -> Runner:
        dtype = PRECISIONS[precision]
        if device.type == "cpu":
            keep_freed()
        # Measured on CPUs: 1.3 to 1.6 times the throughput of the default layout for most models.
        module = module.eval().to(device, dtype).to(memory_format=torch.channels_last)
        return cls(module, preprocessing, device, dtype)

    def upload(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 [B, C, h, w] in host memory → the normalised input on the device."""
        host = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            host = host.pin_memory()
        return self.normalised(host.to(self.device, non_blocking=True))

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [B, C, h, w] on the device → the model's input."""
        batch = self.preprocessing.normalise(pixels)
        return batch.contiguous(memory_format=torch.channels_last)

    def logits(self, batch: torch.Tensor) -> torch.Tensor:
        """Normalised input [B, C, h, w] → float32 [B, K], both on the device."""
        with torch.inference_mode():
            return self.module(batch.to(self.dtype)).float()

    def answers(self, batch: torch.Tensor, score: str = "maxp") -> dict[str, np.ndarray]:
        """Answers and scores of a batch on the device, on the host: what a request waits for.

        The rule's own scores, and `score` where that is a package's.
        """
        return answered(self.logits(batch).cpu().numpy(), score)


class Seen(Hashable, Protocol):
    """How a model sees a picture: a Preprocessing, or a View."""

    def pixels(self, picture: np.ndarray) -> np.ndarray: ...


V = TypeVar("V", bound=Seen)


@dataclass(frozen=True)
class Pictures(Generic[V]):
    """A source's decoded batches as several views of them, each picture decoded once.

    `shapes` are those of sample 0, which all pictures must have: a batch is one array.
    """

    source: Source
    first: np.ndarray
    shapes: dict[V, tuple[int, ...]]

    @classmethod
    def of(cls, source: Source, views: Iterable[V], first: np.ndarray | None = None) -> Pictures[V]:
        """`first` is sample 0 where it is decoded already."""
        first = source.read(0) if first is None else first
        return cls(source, first, {each: each.pixels(first).shape for each in views})

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """Samples start … stop − 1, decoded."""
        return [self.source.read(i) if i else self.first for i in range(start, stop)]

    def views(self, pictures: list[np.ndarray], start: int) -> dict[V, np.ndarray]:
        """Decoded samples from `start` on as uint8 [B, C, h, w]; InputError for another size."""
        return {each: self._stacked(pictures, start, each) for each in self.shapes}

    def batch(self, start: int, stop: int) -> dict[V, np.ndarray]:
        """`views` of samples start … stop − 1."""
        return self.views(self.read(start, stop), start)

    def _stacked(self, pictures: list[np.ndarray], start: int, by: V) -> np.ndarray:
        pixels = [by.pixels(picture) for picture in pictures]
        for i, found in enumerate(pixels, start):
            if found.shape != self.shapes[by]:
                raise InputError(
                    f"{self.source.dataset}/{self.source.split} sample {i} "
                    f"({self.source.keys[i]}) is {_size(found.shape)} but sample 0 is "
                    f"{_size(self.shapes[by])}: resize the images to one size"
                )
        return np.stack(pixels)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[2]}"


class Stopwatch:
    """Milliseconds of consecutive laps: CUDA events on a GPU, a monotonic clock elsewhere.

    Events cost no synchronisation; `read` waits for the device once for all laps.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._sync: Callable[[], None] = synchroniser(device)
        self._laps: list[tuple[object, object]] = []
        self._start: object = None

    def start(self) -> None:
        self._start = self._mark()

    def stop(self) -> None:
        self._laps.append((self._start, self._mark()))

    def read(self) -> list[float]:
        """The laps since the last read, in ms."""
        self._sync()
        laps, self._laps = self._laps, []
        if self._cuda:
            return [start.elapsed_time(end) for start, end in laps]  # type: ignore[attr-defined]
        return [(end - start) / 1e6 for start, end in laps]  # type: ignore[operator]

    def keep(self, laps: int) -> None:
        """Forget all laps since the last read but the first few."""
        del self._laps[laps:]

    def _mark(self) -> object:
        if not self._cuda:
            self._sync()
            return time.perf_counter_ns()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))  # not the first GPU's
        return event


def synchroniser(device: torch.device) -> Callable[[], None]:
    """Waits until the device has finished what it was given; nothing to wait for on a CPU."""
    if device.type == "cpu":
        return lambda: None
    return lambda: torch.accelerator.synchronize(device)
