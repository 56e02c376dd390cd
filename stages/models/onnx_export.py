"""Exports a torch model to ONNX, and holds the file's logits against the model's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cache import InputError, Provenance
from stages.models.choice import Chosen
from stages.models.onnx_file import facts
from stages.models.weights import load
from stages.runtimes import open_device, runner_of

OPSET = 18
CLOSE = 1e-5  # the largest difference of a logit from torch's, relative to the largest logit
_IMAGES, _SEED = 4, 7

Shape = tuple[int, int, int]


def export(one: Chosen, shape: Shape, place: Path) -> Provenance:
    """Write the model's file for pictures of `shape` (C, H, W), any number at a time; returns what
    made it.

    InputError where it cannot be exported, or gives other logits than torch.
    """
    module = load(one.spec, one.weights)
    exporter = _written(one.name, module, torch.zeros(2, *shape), place)
    difference = _difference(one, module, place, shape)
    if difference > CLOSE:
        raise InputError(
            f"{one.name} on ONNX Runtime differs from torch by {difference:.1e} of the largest "
            f"logit, more than {CLOSE:g}: run it in torch"
        )
    return {"opset": OPSET, "exporter": exporter, "difference": difference}


def _written(name: str, module: Any, example: torch.Tensor, path: Path) -> str:
    """The exporter that could: the older one is quicker, the newer one takes more models."""
    how: dict[str, Callable[[], object]] = {
        "torchscript": lambda: torch.onnx.export(
            module,
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_axes={"pixels": {0: "batch"}, "logits": {0: "batch"}},
        ),
        "dynamo": lambda: torch.onnx.export(
            module,
            (example,),
            str(path),
            dynamo=True,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        ),
    }
    reasons = []
    for exporter, write in how.items():
        try:
            with warnings.catch_warnings(), redirect_stdout(StringIO()):
                warnings.simplefilter("ignore")  # of what was, and of what the tracer cannot see
                write()
            return exporter
        except Exception as error:  # an exporter fails in any way
            reasons.append(f"{exporter}: {(str(error).splitlines() or [''])[0][:150]}")
    raise InputError(f"{name} cannot be exported to ONNX ({'; '.join(reasons)}): run it in torch")


def _difference(one: Chosen, module: Any, path: Path, shape: Shape) -> float:
    """Of the file's logits from the module's on seeded noise, relative to the largest."""
    noise = np.random.default_rng(_SEED).integers(0, 256, (_IMAGES, *shape), np.uint8)
    models = {"torch": module, "onnxruntime": facts(path)}
    found = []
    for engine, model in models.items():
        runner = runner_of(model, one.spec.preprocessing, open_device("cpu", engine=engine))
        found.append(np.asarray(runner.logits(runner.upload(noise))))
    return float(np.abs(found[0] - found[1]).max() / np.abs(found[0]).max())
