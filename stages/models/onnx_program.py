"""A classifier as an ONNX file: no architecture, its own batch, float32. Needs no torch."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cache import InputError
from stages.models.onnx_file import facts
from stages.models.spec import ModelSpec
from stages.runtimes import OnnxModel


def build(classes: int) -> OnnxModel:
    """InputError: an ONNX model is its file."""
    raise InputError("an ONNX model cannot be built, only read: give its file")


def load(spec: ModelSpec, path: Path) -> OnnxModel:
    """The checked file, tried once in a process of its own."""
    return _tried(facts(path))


@lru_cache(maxsize=64)
def _tried(model: OnnxModel) -> OnnxModel:
    return model.tried()
