"""From a spec to a torch module: the only place that imports a family's code."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

from cache.errors import InputError
from stages.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


def require_torch() -> None:
    """Raise InputError where torch is not installed (the CPU-only half has none)."""
    if find_spec("torch") is None:
        raise InputError(
            "PyTorch is not installed: run pip install 'cascade-cli[extract]', or in a clone "
            "pip install '.[extract]'"
        )


def instantiate(spec: ModelSpec, classes: int | None = None) -> nn.Module:
    """The module in eval mode, without trained weights, for `classes` (default: the spec's)."""
    classes = spec.classes if classes is None else classes
    if classes < 1:
        raise InputError(f"{spec.name} cannot have {classes} classes: give at least 1")
    return family(spec).build(classes, **spec.options)  # type: ignore[no-any-return]


def fuse(spec: ModelSpec, model: nn.Module) -> nn.Module:
    """The deploy form of a fusible model: a copy with fewer layers and the same logits to 1e-4."""
    if not spec.fusible:
        raise InputError(f"{spec.name} has no deploy form: run it as it is")
    return family(spec).fuse(model)  # type: ignore[no-any-return]


def adapt(spec: ModelSpec, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors under the names of the model's, where its family knows other names."""
    adapted = getattr(family(spec), "adapt", None)
    return state if adapted is None else adapted(state, **spec.options)  # type: ignore[no-any-return]


def is_ours(spec: ModelSpec) -> bool:
    """Whether a module of `stages.models` builds it, not a package's."""
    return "." not in spec.family and find_spec(f"{__package__}.{spec.family}") is not None


def family(spec: ModelSpec) -> ModuleType:
    """The module that builds the model: one of `stages.models`, or any that can be imported."""
    require_torch()
    if is_ours(spec):
        return import_module(f"{__package__}.{spec.family}")
    try:
        return import_module(spec.family)
    except Exception as error:  # another package's code can fail in any way
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"model {spec.name} needs the module {spec.family}, which fails "
            f"({type(error).__name__}: {reason}): install or correct it"
        ) from error
