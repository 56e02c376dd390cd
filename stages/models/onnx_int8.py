"""A model's ONNX file in int8: static quantisation, whose ranges some pictures of its own set.

Weights per channel and activations per tensor become 8-bit integers (QDQ), with the extremes that
the pictures showed as their ranges: `onnxruntime.quantization`. Where the processor cuts sums of
products off at 16 bits, weights get 7 bits instead.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache import InputError, Provenance
from stages.datasets import Source, fingerprint
from stages.models.onnx_file import facts
from stages.runtimes import OnnxModel, Pictures, Preprocessing, View, int8_saturates

IMAGES, SEED = 512, 0
_BATCH = 32


@dataclass(frozen=True)
class CalibrationSet:
    """The images that set the ranges: IMAGES of a split at random, or all of them."""

    source: Source

    @property
    def rows(self) -> np.ndarray:
        """int [n], ascending."""
        n = len(self.source)
        drawn = np.random.default_rng(SEED).choice(n, min(n, IMAGES), replace=False)
        return np.sort(drawn)

    def describe(self) -> Provenance:
        """What is recorded of them."""
        return {
            "dataset": self.source.dataset,
            "split": self.source.split,
            "dataset_fingerprint": fingerprint(self.source),
            "images": len(self.rows),
            "seed": SEED,
        }

    def batches(self, model: OnnxModel, preprocessing: Preprocessing) -> Iterator[np.ndarray]:
        """float32 [B, C, H, W], as many at a time as the model takes."""
        view = View("identity", preprocessing)
        pictures = Pictures.of(self.source, [view])
        step = model.largest or max(_BATCH, model.smallest)
        for at in range(0, len(self.rows), step):
            rows = self.rows[at : at + step]
            rows = np.concatenate([rows, rows[-1:].repeat(max(0, model.smallest - len(rows)))])
            found = [pictures.batch(i, i + 1)[view] for i in rows.tolist()]
            yield preprocessing.normalise_array(np.concatenate(found))


def quantise(
    name: str, model: OnnxModel, preprocessing: Preprocessing, by: CalibrationSet, place: Path
) -> Provenance:
    """Write the int8 file of a model's float32 one; returns what made it.

    InputError where it cannot be quantised.
    """
    from onnxruntime.quantization import QuantType, quantize_static, shape_inference

    class Reader:
        """What onnxruntime.quantization reads: one input at a time, then None."""

        def __init__(self) -> None:
            self._batches = by.batches(model, preprocessing)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(({_input(model.path): batch} for batch in self._batches), None)

    settings = {"per_channel": True, "reduce_range": int8_saturates()}
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    with tempfile.TemporaryDirectory() as folder:
        fused = Path(folder, "fused.onnx")
        try:
            # BatchNorm goes into its convolution first. Shapes by sympy need a package more.
            shape_inference.quant_pre_process(model.path, fused, skip_symbolic_shape=True)
            quantize_static(fused, place, Reader(), **settings, **types)
        except InputError:
            raise
        except Exception as error:  # it fails in any way
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{name} cannot be quantised to int8 ({type(error).__name__}: {reason}): run it in "
                "float32"
            ) from error
    if not facts(place).quantised:
        raise InputError(f"{name} holds no operator that int8 is for: run it in float32")
    return {**settings, "format": "QDQ", "ranges": "MinMax", "calibration": by.describe()}


def _input(path: Path) -> str:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    given = {each.name for each in graph.initializer}
    return next(each.name for each in graph.input if each.name not in given)
