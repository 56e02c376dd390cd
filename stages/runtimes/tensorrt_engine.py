"""Models as ONNX files on TensorRT, by ONNX Runtime's provider; what it cannot run CUDA's does."""

from __future__ import annotations

from cache import one_of
from stages.runtimes.onnx_engine import (
    CPU as CPU,
    CUDA,
    FULL,
    OnnxDevice,
    device_name as device_name,
    empty as empty,
    free_bytes as free_bytes,
    on_gpu,
    on_host as on_host,
    on_threads as on_threads,
    peak_memory as peak_memory,
    release as release,
    runner_of as runner_of,
    settings as settings,
    stopwatch as stopwatch,
    synchroniser as synchroniser,
    threads as threads,
    to_device as to_device,
    to_numpy as to_numpy,
)

TENSORRT = "TensorrtExecutionProvider"
PRECISIONS = ("fp16",)  # of float32 files; its float32 would be TF32


def open_device(name: str | None, precision: str = "fp16") -> OnnxDevice:
    """The named GPU, else the first; InputError for another device or precision."""
    kind, _, index = (name or "cuda").partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise one_of("device of TensorRT", str(name), ["cuda"])
    if precision not in PRECISIONS:
        raise one_of("precision of TensorRT", precision, PRECISIONS)
    return on_gpu("tensorrt", int(index or 0), {TENSORRT: {"trt_fp16_enable": True}, CUDA: FULL})
