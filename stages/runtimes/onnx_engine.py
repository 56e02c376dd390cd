"""Models as ONNX files on ONNX Runtime, by the CPU's provider or CUDA's.

Arrays are numpy's and stay on the host: on a GPU a pass holds the copy of its pictures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnxruntime

from cache import InputError, Provenance, one_of
from stages.energy import gpu_name
from stages.parallel import default_workers
from stages.runtimes.common import INT8, ModelRunner, Stopwatch, processor, processor_flags
from stages.runtimes.memory import free_memory, out_of_memory
from stages.runtimes.onnx_model import OnnxModel
from stages.runtimes.onnx_session import CPU as PROVIDER, OPTIMISATION, Providers, session
from stages.runtimes.preprocess import Preprocessing
from stages.scores import answered


def _threads() -> int:
    """As many as torch takes: $OMP_NUM_THREADS, else one per core."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else default_workers()


@dataclass(frozen=True)
class OnnxDevice:
    """The CPU, with so many threads for a model, or a GPU; `providers` run it, the first of them
    what it can."""

    type: str = "cpu"
    threads: int = field(default_factory=_threads)
    index: int = 0
    engine: str = "onnxruntime"
    providers: Providers = field(default=((PROVIDER, {}),), hash=False)

    def __str__(self) -> str:
        return self.type if self.type == "cpu" else f"{self.type}:{self.index}"


CPU = OnnxDevice()
CUDA = "CUDAExecutionProvider"
FULL = {"use_tf32": 0}  # float32 is float32
# By kind of device; all are the file's.
PRECISIONS = {"cpu": ("fp32", INT8), "cuda": ("fp32", "fp16")}


def open_device(name: str | None, precision: str = "fp32") -> OnnxDevice:
    """The CPU, or the named GPU; InputError for another device or precision."""
    kind, _, index = (name or "cpu").partition(":")
    if kind not in PRECISIONS or not (index or "0").isdecimal():
        raise one_of("device of ONNX Runtime", str(name), PRECISIONS)
    if precision not in PRECISIONS[kind]:
        raise one_of(f"precision of ONNX Runtime on {kind}", precision, PRECISIONS[kind])
    if kind == "cpu":
        return CPU
    return on_gpu("onnxruntime", int(index or 0), {CUDA: FULL})


def on_gpu(engine: str, index: int, providers: Mapping[str, Mapping[str, Any]]) -> OnnxDevice:
    """The GPU, by these providers and the CPU's for what they cannot; InputError for one that this
    ONNX Runtime lacks."""
    here = onnxruntime.get_available_providers()
    for name in providers:
        if name not in here:
            raise InputError(
                f"this ONNX Runtime has no {name}: pip install onnxruntime-gpu in its place, or "
                "give --runtime onnxruntime-fp32-cpu"
            )
    own = tuple((name, {"device_id": index, **more}) for name, more in providers.items())
    return OnnxDevice("cuda", 1, index, engine, (*own, (PROVIDER, {})))


def device_name(device: OnnxDevice) -> str:
    if device.type == "cuda":
        return gpu_name(device.index) or str(device)
    return f"{processor()}, {device.threads} threads"


def settings(device: OnnxDevice) -> Provenance:
    return {
        "onnxruntime": onnxruntime.__version__,
        "threads": device.threads,
        "providers": [name for name, _ in device.providers],
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

    def host_logits(self, batch: np.ndarray) -> np.ndarray:
        return self.logits(batch)

    def answers(self, batch: np.ndarray, score: str = "maxp") -> dict[str, np.ndarray]:
        return answered(self.logits(batch), score)


def runner_of(
    model: Any, preprocessing: Preprocessing, device: OnnxDevice, precision: str = "fp32"
) -> OnnxRunner:
    """InputError for what is no ONNX model."""
    if not isinstance(model, OnnxModel):
        raise InputError(f"ONNX Runtime runs ONNX files, no {type(model).__name__}: export it")
    try:
        opened = session(model.path, device.threads, device.providers)
    except Exception as error:  # its own kinds derive from nothing narrower
        reason = " ".join(str(error).split())[:200]
        if out_of_memory(told := RuntimeError(reason)):
            raise told from error
        if device.type == "cpu":
            raise
        raise InputError(f"cannot use {device} ({reason}): give --device cpu") from error
    return OnnxRunner(opened, model, preprocessing, device)


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


def beside(runner: OnnxRunner) -> OnnxRunner:
    """Itself: sessions keep nothing of a run."""
    return runner


def release(device: OnnxDevice) -> None:
    """Nothing is kept but by sessions."""


def free_bytes(device: OnnxDevice) -> int | None:
    return free_memory() if device.type == "cpu" else None


def peak_memory(call: Callable[[], object], runner: ModelRunner) -> int | None:
    return None
