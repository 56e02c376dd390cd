"""Exports a torch model to ONNX, and holds the file's logits against the model's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cache import InputError, Provenance
from stages.models.choice import Chosen
from stages.models.onnx_file import facts
from stages.models.weights import load
from stages.runtimes import open_device, runner_of, seeded_pictures

OPSET = 18
CLOSE = 1e-5  # the largest difference of a logit from torch's, relative to the largest logit
_OWN, _MOST = 4, 1e-3  # or so many times what torch's float32 differs from float64, up to this
_IMAGES = 4

Shape = tuple[int, int, int]


def export(one: Chosen, shape: Shape, place: Path) -> Provenance:
    """Write the model's file for pictures of `shape` (C, H, W), any number at a time; returns what
    made it.

    InputError where it cannot be exported, or gives other logits than torch.
    """
    module = load(one.spec, one.weights)
    exporter = _written(one.name, module, torch.zeros(2, *shape), place)
    difference, allowed = _compared(one, module, place, shape)
    if not difference <= allowed:
        raise InputError(
            f"{one.name} on ONNX Runtime differs from torch by {difference:.1e} of the largest "
            f"logit, more than {allowed:.1g}: run it in torch"
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


def _compared(one: Chosen, module: Any, path: Path, shape: Shape) -> tuple[float, float]:
    """How far the file's logits are from the module's on seeded pictures, relative to the largest,
    and how far they may be."""
    pixels = seeded_pictures((_IMAGES, *shape))
    models = {"torch": module, "onnxruntime": facts(path)}
    found = {}
    for engine, model in models.items():
        runner = runner_of(model, one.spec.preprocessing, open_device("cpu", engine=engine))
        found[engine] = np.asarray(runner.logits(runner.upload(pixels)))
    difference = _apart(found["onnxruntime"], found["torch"])
    if difference <= CLOSE:
        return difference, CLOSE
    try:
        with torch.inference_mode():
            given = torch.from_numpy(one.spec.preprocessing.normalise_array(pixels)).double()
            exact = deepcopy(module).double()(given).numpy()
    except Exception:  # of a module that has no copy, or makes float32 itself
        return difference, CLOSE
    return difference, min(_MOST, max(CLOSE, _OWN * _apart(found["torch"], exact)))


def _apart(logits: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(logits - reference).max() / np.abs(reference).max())
