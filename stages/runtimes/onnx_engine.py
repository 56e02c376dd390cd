"""Models as ONNX files, in float32 or int8, on ONNX Runtime and the CPU. Arrays are numpy's."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import onnxruntime

from cache import InputError, Provenance, one_of
from stages.parallel import default_workers
from stages.runtimes.common import INT8, ModelRunner, Stopwatch, processor, processor_flags
from stages.runtimes.memory import free_memory
from stages.runtimes.onnx_model import OnnxModel
from stages.runtimes.onnx_session import OPTIMISATION, PROVIDERS, session
from stages.runtimes.preprocess import Preprocessing
from stages.scores import answered


def _threads() -> int:
    """As many as torch takes: $OMP_NUM_THREADS, else one per core."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else default_workers()


@dataclass(frozen=True)
class OnnxDevice:
    """The CPU, with so many threads for a model."""

    engine: ClassVar[str] = "onnxruntime"
    type: str = "cpu"
    threads: int = field(default_factory=_threads)

    def __str__(self) -> str:
        return self.type


CPU = OnnxDevice()
PRECISIONS = ("fp32", INT8)  # both are the file's


def open_device(name: str | None, precision: str = "fp32") -> OnnxDevice:
    """The CPU; InputError for another device or precision."""
    if precision not in PRECISIONS:
        raise one_of("precision of ONNX Runtime", precision, PRECISIONS)
    if name not in (None, "cpu"):
        raise one_of("device of ONNX Runtime", str(name), ["cpu"])
    return CPU


def device_name(device: OnnxDevice) -> str:
    return f"{processor()}, {device.threads} threads"


def settings(device: OnnxDevice) -> Provenance:
    return {
        "onnxruntime": onnxruntime.__version__,
        "threads": device.threads,
        "providers": PROVIDERS,
        "graph_optimization_level": OPTIMISATION,
        "cpu_flags": processor_flags(),
    }


@dataclass(frozen=True)
class OnnxRunner:
    """A session with a model; a batch beyond what its graph takes runs in chunks, one below is
    filled up with its last picture."""

    session: Any
    model: OnnxModel
    preprocessing: Preprocessing
    device: OnnxDevice

    @property
    def parameters(self) -> int:
        return self.model.parameters

    @property
    def nbytes(self) -> int:
        return self.model.nbytes

    def upload(self, pixels: np.ndarray) -> np.ndarray:
        return self.normalised(pixels)

    def normalised(self, pixels: np.ndarray) -> np.ndarray:
        return self.preprocessing.normalise_array(pixels)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """RuntimeError in one line for whatever fails."""
        step = self.model.largest or max(len(batch), 1)
        chunks = [self._chunk(batch[at : at + step]) for at in range(0, len(batch), step)]
        return np.concatenate([np.empty((0, self.model.classes), np.float32), *chunks])

    def _chunk(self, batch: np.ndarray) -> np.ndarray:
        lacking = self.model.smallest - len(batch)
        if lacking > 0:
            batch = np.concatenate([batch, np.repeat(batch[-1:], lacking, axis=0)])
        try:
            name = self.session.get_inputs()[0].name
            logits: np.ndarray = self.session.run(None, {name: batch})[0]
        except MemoryError as error:
            raise RuntimeError(f"out of memory: {error}") from error
        except Exception as error:  # its own kinds derive from nothing narrower
            raise RuntimeError(" ".join(str(error).split())[:300]) from error
        return logits[: len(logits) - lacking] if lacking > 0 else logits

    def answers(self, batch: np.ndarray, score: str = "maxp") -> dict[str, np.ndarray]:
        return answered(self.logits(batch), score)


def runner_of(
    model: Any, preprocessing: Preprocessing, device: OnnxDevice, precision: str = "fp32"
) -> OnnxRunner:
    """InputError for what is no ONNX model."""
    if not isinstance(model, OnnxModel):
        raise InputError(f"ONNX Runtime runs ONNX files, no {type(model).__name__}: export it")
    return OnnxRunner(session(model.path, device.threads), model, preprocessing, device)


def on_host(pixels: np.ndarray, device: OnnxDevice) -> np.ndarray:
    return pixels


def to_device(host: np.ndarray, device: OnnxDevice) -> np.ndarray:
    return host


def empty(shape: tuple[int, int], device: OnnxDevice | str) -> np.ndarray:
    return np.empty(shape, np.float32)


def to_numpy(array: np.ndarray) -> np.ndarray:
    return array


def stopwatch(device: OnnxDevice) -> Stopwatch:
    return Stopwatch.by_clock(synchroniser(device))


def synchroniser(device: OnnxDevice) -> Callable[[], None]:
    return lambda: None


def threads(device: OnnxDevice) -> int:
    return device.threads


def on_threads(device: OnnxDevice, count: int) -> OnnxDevice:
    return replace(device, threads=count)


def release(device: OnnxDevice) -> None:
    """Nothing is kept but by sessions."""


def free_bytes(device: OnnxDevice) -> int | None:
    return free_memory()


def peak_memory(call: Callable[[], object], runner: ModelRunner) -> int | None:
    return None
