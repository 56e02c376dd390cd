"""From a weights file to a checked model: nothing but tensors is read, and every one is checked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cache import InputError
from stages.models.factory import adapt, instantiate
from stages.models.spec import ModelSpec

WRAPPERS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")  # of nn.DataParallel and torch.compile


def restored(spec: ModelSpec, path: Path) -> nn.Module:
    """The model in eval mode with the weights of `path`; the class count is read from its head.

    Raises InputError that names the file and the first tensor which does not fit.
    """
    state = adapt(spec, read_state(path))
    classes = _classes(state, spec, path)
    with torch.device("meta"):
        bare = instantiate(spec, classes)
    expected = bare.state_dict()
    state = _with_counters(state, expected)
    for name in expected | state:
        if fault := _fault(name, state.get(name), expected.get(name)):
            raise _misfit(fault, spec, path)
    # Takes the place of its entries but keeps the versions of its modules, which some need.
    expected.update({name: tensor.to(expected[name].dtype) for name, tensor in state.items()})
    return _filled(bare, expected, spec, classes).eval()


def _filled(bare: nn.Module, state: dict[str, Tensor], spec: ModelSpec, classes: int) -> nn.Module:
    """The model with these tensors; `bare` is it without any, which spares random weights."""
    bare.load_state_dict(state, assign=True)
    if not any(tensor.is_meta for tensor in chain(bare.parameters(), bare.buffers())):
        return bare
    model = instantiate(spec, classes)  # it holds tensors that no file has
    model.load_state_dict(state)
    return model


def read_state(path: Path) -> dict[str, Tensor]:
    """The named tensors of a .safetensors, or of a .pt or .pth file, out of their wrappers."""
    reader = _reader(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch on unusual contents, which are checked next
            loaded = reader(path)
    except Exception as error:  # a damaged archive or pickle can raise nearly anything
        raise InputError(
            f"weights {path} cannot be read ({type(error).__name__}): the file is damaged or holds "
            "more than tensors; save the state dict alone"
        ) from error
    state = _unwrapped(loaded)
    if not isinstance(state, dict) or not state:
        raise InputError(f"weights {path} hold a {_kind(state)}, not a state dict: save one")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise InputError(
                f"weights {path} hold a {_kind(tensor)} under {name!r}, not a tensor: save the "
                "state dict alone"
            )
    return _without_prefix(state)


def _reader(path: Path) -> Callable[[Path], Any]:
    if path.suffix != ".safetensors":
        return partial(torch.load, map_location="cpu", weights_only=True)
    if find_spec("safetensors") is None:
        raise InputError(f"{path} needs safetensors: run pip install safetensors")
    from safetensors.torch import load_file

    return load_file


def _unwrapped(loaded: Any) -> Any:
    inner = [loaded.get(key) for key in WRAPPERS] if isinstance(loaded, dict) else []
    return next((state for state in inner if isinstance(state, dict)), loaded)


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _with_counters(state: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Batch norm's step counters, which old files lack and inference never reads, as zeros."""
    counters = [name for name in expected if name.endswith(".num_batches_tracked")]
    return {name: torch.tensor(0) for name in counters} | state


def _classes(state: dict[str, Tensor], spec: ModelSpec, path: Path) -> int:
    head = state.get(spec.head)
    if head is None:
        raise _misfit(f"tensor {spec.head} is missing", spec, path)
    if head.ndim == 0 or head.numel() == 0:
        raise _misfit(f"tensor {spec.head} has the shape {list(head.shape)}", spec, path)
    return head.shape[0]


def _fault(name: str, found: Tensor | None, wanted: Tensor | None) -> str | None:
    if wanted is None:
        return f"tensor {name} is not one of the model's"
    if found is None:
        return f"tensor {name} is missing, expected shape {list(wanted.shape)}"
    if found.shape != wanted.shape:
        return f"tensor {name} has shape {list(found.shape)}, expected {list(wanted.shape)}"
    if not _is_plain(found):
        return f"tensor {name} is not a plain one ({found.layout}, {found.device}, {found.dtype})"
    if wanted.is_floating_point() and not found.is_floating_point():
        return f"tensor {name} holds {found.dtype}, expected floating point"
    if not torch.isfinite(found.to(wanted.dtype)).all():
        return f"tensor {name} holds NaN or infinite values"
    return None


def _is_plain(tensor: Tensor) -> bool:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    return tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()


def _misfit(fault: str, spec: ModelSpec, path: Path) -> InputError:
    return InputError(
        f"weights {path} do not fit {spec.name}: {fault}; "
        f"give its own file with --weights DIR or --model NAME={spec.name}:FILE"
    )


def _kind(found: object) -> str:
    return "dict without entries" if found == {} else type(found).__name__
