"""From a spec to a torch module: the only place that imports a family's code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cache import InputError
from stages import plugins
from stages.models.spec import ONNX, ModelSpec
from stages.plugins import told
from stages.runtimes import not_installed, out_of_memory

if TYPE_CHECKING:
    from torch import Tensor, nn


def require_torch() -> None:
    """Raise InputError where torch is not installed (the CPU-only half has none)."""
    if find_spec("torch") is None:
        raise not_installed("PyTorch", "extract")


def instantiate(spec: ModelSpec, classes: int | None = None) -> nn.Module:
    """The module in eval mode, without trained weights, for `classes` (default: the spec's)."""
    classes = spec.classes if classes is None else classes
    if classes < 1:
        raise InputError(f"{spec.name} cannot have {classes} classes: give at least 1")
    return _module(spec, "build", classes, **spec.options)


def loaded(spec: ModelSpec, path: Path) -> nn.Module:
    """The module that the family's own `load` reads from a file."""
    return _module(spec, "load", spec, path)


def fuse(spec: ModelSpec, model: nn.Module) -> nn.Module:
    """The deploy form of a fusible model: a copy with fewer layers and the same logits to 1e-4."""
    if not spec.fusible:
        raise InputError(f"{spec.name} has no deploy form: run it as it is")
    return _module(spec, "fuse", model)


def adapt(spec: ModelSpec, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors under the names of the model's, where its family knows other names."""
    if not has(spec, "adapt"):
        return state
    from torch import Tensor

    adapted = call(spec, "adapt", state, **spec.options)
    if not isinstance(adapted, dict) or not all(isinstance(t, Tensor) for t in adapted.values()):
        raise fault(spec, f"its adapt() gives {_kind(adapted)}, not a dict of tensors")
    return adapted


def has(spec: ModelSpec, function: str) -> bool:
    """Whether the model's family has a function of its own for this."""
    return hasattr(family(spec), function)


def call(spec: ModelSpec, function: str, *given: Any, **options: Any) -> Any:
    """What a function of the model's family returns; InputError where a package's fails."""
    with blaming(spec, f"its {function}()"):
        return getattr(family(spec), function)(*given, **options)


def guarded(spec: ModelSpec, model: nn.Module) -> nn.Module:
    """The model itself; where it is a package's, its failures name that from now on."""
    if is_ours(spec):
        return model
    from torch import Tensor

    forward = model.forward

    def checked(images: Tensor) -> Tensor:
        shape = "×".join(map(str, images.shape))
        with blaming(spec, f"on pictures of {shape} it"):
            logits = forward(images)
        if not isinstance(logits, Tensor) or logits.shape[:1] != images.shape[:1]:
            raise fault(spec, f"on pictures of {shape} it gives {_kind(logits)}, not their logits")
        if logits.ndim != 2:
            raise fault(spec, f"on pictures of {shape} it gives {_kind(logits)}, not [B, classes]")
        return logits

    model.forward = checked  # type: ignore[method-assign]
    return model


@contextmanager
def blaming(spec: ModelSpec, what: str) -> Iterator[None]:
    """Whatever a package's code raises within is one line that names it; not so a lack of memory,
    which may be mended, and what a model of ours raises."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # another package's code can fail in any way
        if is_ours(spec) or out_of_memory(error):
            raise
        raise fault(spec, f"{what} fails, {told(error)}") from error


def fault(spec: ModelSpec, what: str) -> InputError:
    """One line on a package's model, which names the package."""
    about = f"model {spec.name}: {what}"
    for one in plugins.loaded(plugins.MODELS, ModelSpec):
        if isinstance(one, plugins.Added) and one.item.family == spec.family:
            return one.fault(about, "correct, update or uninstall it")
    return InputError(f"module {spec.family}, {about}: correct it")


def _module(spec: ModelSpec, function: str, *given: Any, **options: Any) -> nn.Module:
    from torch import nn

    module = call(spec, function, *given, **options)
    if not isinstance(module, nn.Module):
        raise fault(spec, f"its {function}() gives {_kind(module)}, not a torch module")
    return module


def _kind(found: object) -> str:
    shape = getattr(found, "shape", None)
    return f"a {type(found).__name__}" + ("" if shape is None else f" {list(shape)}")


def is_ours(spec: ModelSpec) -> bool:
    """Whether a module of `stages.models` builds it, not a package's."""
    return "." not in spec.family and find_spec(f"{__package__}.{spec.family}") is not None


def family(spec: ModelSpec) -> ModuleType:
    """The module that builds the model: one of `stages.models`, or any that can be imported."""
    if spec.family != ONNX:
        require_torch()
    if is_ours(spec):
        return import_module(f"{__package__}.{spec.family}")
    try:
        return import_module(spec.family)
    except (Exception, SystemExit) as error:  # another package's code can fail in any way
        raise InputError(
            f"model {spec.name} needs the module {spec.family}, which fails ({told(error)}): "
            "install or correct it"
        ) from error
