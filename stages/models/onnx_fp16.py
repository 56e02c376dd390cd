"""A model's ONNX file in half precision, its input and output in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cache import InputError, Provenance
from stages.models.onnx_file import facts
from stages.runtimes import (
    OnnxModel,
    Preprocessing,
    open_device,
    runner_of,
    seeded_pictures,
)

CLOSE = 0.05  # the largest difference of a logit from float32's, relative to the largest logit
_IMAGES = 4


def halve(name: str, model: OnnxModel, seen: Preprocessing, place: Path) -> Provenance:
    """Write the half-precision file of a float32 one; returns what made it.

    InputError where it cannot be made, or gives other logits than the float32 one on a CPU, which
    computes the same rounded weights.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    cpu = open_device("cpu", engine="onnxruntime")
    try:
        made = convert_float_to_float16(onnx.load(model.path), keep_io_types=True)
        onnx.save(made, place)
        half = runner_of(facts(place), seen, cpu)
    except Exception as error:  # it fails in any way
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name} cannot be made fp16 ({type(error).__name__}: {reason}): run it in fp32"
        ) from error
    pixels = seeded_pictures((_IMAGES, *model.shape))
    runners = (runner_of(model, seen, cpu), half)
    exact, rounded = (np.asarray(each.logits(each.upload(pixels))) for each in runners)
    difference = float(np.abs(exact - rounded).max() / max(np.abs(exact).max(), 1e-30))
    if not difference <= CLOSE:
        raise InputError(
            f"{name} in fp16 differs by {difference:.1e} of the largest logit, more than "
            f"{CLOSE:g}: run it in fp32"
        )
    return {"precision": "fp16", "difference": difference}
