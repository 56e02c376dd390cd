"""From a spec to a torch module: the only place that imports a family's code."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

from cache.errors import InputError
from stages.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn


def require_torch() -> None:
    """Raise InputError where torch is not installed (the CPU-only half has none)."""
    if find_spec("torch") is None:
        raise InputError('PyTorch is not installed: run pip install "cascade-cli[extract]"')


def instantiate(spec: ModelSpec, classes: int | None = None) -> nn.Module:
    """The module in eval mode, without trained weights, for `classes` (default: the spec's)."""
    classes = spec.classes if classes is None else classes
    if classes < 1:
        raise InputError(f"{spec.name} cannot have {classes} classes: give at least 1")
    return _family(spec).build(classes, **spec.options)


def fuse(spec: ModelSpec, model: nn.Module) -> nn.Module:
    """The deploy form of a fusible model: a copy with fewer layers and the same logits to 1e-4."""
    if not spec.fusible:
        raise InputError(f"{spec.name} has no deploy form: run it as it is")
    return _family(spec).fuse(model)


def _family(spec: ModelSpec) -> ModuleType:
    require_torch()
    return import_module(f"stages.models.{spec.family}")
