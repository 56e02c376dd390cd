"""Images a second of each engine on the CPU, and what share of the machine's float32 peak that is.

    python -m benchmarks.engines

Eager torch as `extract` runs it, torch compiled (where a C++ compiler is), ONNX Runtime as
`extract` runs it, and OpenVINO (where it is installed; no engine of the program's), on random
weights, which do not change the time. Windows of all engines alternate; the figure is the best of
ROUNDS. The peak is that of a large matrix product. Inputs are normalised and resident.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import torch

from benchmarks.extract import seeded
from stages.models import Chosen, Target, for_engine, get, load, sizes
from stages.runtimes import open_device, runner_of
from stages.runtimes.onnx_session import session

MODELS = {
    "resnet20": "cifar10",
    "mobilenetv2_x1_0": "cifar10",
    "resnet56": "cifar10",
    "vgg16_bn": "cifar10",
    "resnet50": "imagenet",
}
PICTURE = {"cifar10": (32, 32), "imagenet": (224, 224)}
BATCHES, ROUNDS, WINDOW_S, SQUARE = (1, 64), 3, 0.5, 1024

Call = Callable[[], object]


def main() -> None:
    peak = measured_peak()
    print(f"{torch.get_num_threads()} threads, float32 peak {peak / 1e9:.0f} G multiply-adds/s")
    with tempfile.TemporaryDirectory() as folder:
        for name, dataset in MODELS.items():
            one = seeded(get(name, dataset), Path(folder))
            shape, picture = (3, *PICTURE[dataset]), np.zeros((*PICTURE[dataset], 3), np.uint8)
            _, macs = sizes(one.spec, one.spec.classes, partial(np.copy, picture))
            for batch in BATCHES:
                calls = dict(engines(one, Path(folder), (batch, *shape)))
                for engine, rate in rates(calls, batch).items():
                    share = rate * (macs or 0) / peak
                    print(f"{name:18} batch {batch:2}  {engine:16} {rate:9.1f}/s  {share:4.0%}")


def measured_peak() -> float:
    """Multiply-adds a second of a product of two matrices of SQUARE × SQUARE, by whichever library
    is quickest: not all use the whole vector unit of every processor."""
    left, right = np.random.default_rng(0).random((2, SQUARE, SQUARE), np.float32)
    pair = torch.from_numpy(left), torch.from_numpy(right)
    calls = {
        "torch": lambda: pair[0] @ pair[1],
        "numpy": lambda: left @ right,
        "onnxruntime": product(left, right),
    }
    return SQUARE**3 * max(rates(calls, 1).values())


def product(left: np.ndarray, right: np.ndarray) -> Call:
    from onnx import TensorProto, helper

    known = [helper.make_tensor_value_info(name, TensorProto.FLOAT, left.shape) for name in "abc"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "g", known[:2], known[2:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "product.onnx")
        path.write_bytes(model.SerializeToString())
        opened = session(path, torch.get_num_threads())
    return lambda: opened.run(None, {"a": left, "b": right})


def rates(calls: dict[str, Call], images: int) -> dict[str, float]:
    """Images a second, the best of ROUNDS windows of each call in turn, after a warm-up."""
    best = dict.fromkeys(calls, 0.0)
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            count, begun = 0, time.perf_counter()
            while (took := time.perf_counter() - begun) < WINDOW_S or not count:
                call()
                count += 1
            best[name] = max(best[name], count * images / took)
    return best


def engines(one: Chosen, folder: Path, shape: tuple[int, ...]) -> Iterator[tuple[str, Call]]:
    """Of each engine that is there the call that runs one batch of `shape`."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    exported = for_engine(one, Target("onnxruntime", size=shape[2:], folder=folder))
    for engine, each in (("torch", one), ("onnxruntime", exported)):
        device = open_device("cpu", engine=engine)
        runner = runner_of(load(each.spec, each.weights), one.spec.preprocessing, device)
        given = runner.upload(pixels)
        yield engine, lambda runner=runner, given=given: runner.logits(given)
        if engine == "torch" and which("c++"):
            yield "torch compiled", compiled(load(one.spec, one.weights), given)
    if find_spec("openvino"):
        file = load(exported.spec, exported.weights).path
        yield "openvino", openvino(file, one.spec.preprocessing.normalise_array(pixels))


def compiled(module: Any, given: torch.Tensor) -> Call:
    quick = torch.compile(module.to(memory_format=torch.channels_last))

    def call() -> object:
        with torch.inference_mode():
            return quick(given)

    return call


def openvino(path: Path, given: np.ndarray) -> Call:
    from openvino import Core

    # Else it computes in bfloat16 where the processor can.
    float32 = {"INFERENCE_PRECISION_HINT": "f32"}
    request = Core().compile_model(str(path), "CPU", float32).create_infer_request()
    return lambda: request.infer([given])


if __name__ == "__main__":
    main()
