"""What is only known of a model once it is built: its head, its size and its multiply-adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from cache import InputError
from stages.models.factory import has, instantiate
from stages.models.spec import ModelSpec
from stages.notices import tell_once


def counted(spec: ModelSpec) -> ModelSpec:
    """The spec with head, parameters and macs read off the model, built without its numbers."""
    with torch.device("meta"):
        model, other = instantiate(spec), instantiate(spec, spec.classes + 1)
    shapes = {name: tensor.shape for name, tensor in other.state_dict().items()}
    state = model.state_dict()
    heads = [
        name for name in state if name.endswith("weight") and state[name].shape != shapes[name]
    ]
    if not heads:
        raise InputError(f"{spec.name} has no layer that gives the classes: choose another")
    height, width = spec.preprocessing.crop or spec.preprocessing.resize  # type: ignore[misc]
    return replace(
        spec,
        head=heads[0],
        parameters=_parameters(model),
        macs=count_macs(model, (len(spec.preprocessing.mean), height, width)),
    )


def sizes(
    spec: ModelSpec, classes: int, picture: Callable[[], np.ndarray]
) -> tuple[int | None, int | None]:
    """Parameters and macs: as the spec states them, else counted on a model of so many classes.

    `picture` gives a decoded one, for a model that takes pictures of any size. None where they are
    not to be counted: the model is its file, or fails without its numbers, which is told.
    """
    known = (spec.parameters, spec.macs)
    if None not in known or has(spec, "load"):
        return known
    wanted = spec.preprocessing.size or spec.preprocessing.pixels(picture()).shape[1:]
    try:
        counts = _counts(spec, classes, (len(spec.preprocessing.mean), *wanted))
    except Exception as error:  # a package's model may need its numbers, or do anything
        reason = (str(error).splitlines() or [""])[0][:100]
        tell_once(f"multiply-adds of {spec.name} are unknown ({type(error).__name__}: {reason})")
        return known
    parameters, macs = (
        count if stated is None else stated for stated, count in zip(known, counts, strict=True)
    )
    return parameters, macs


@lru_cache(maxsize=64)
def _counts(spec: ModelSpec, classes: int, shape: tuple[int, int, int]) -> tuple[int, int]:
    with torch.device("meta"):
        model = instantiate(spec, classes)
    return _parameters(model), count_macs(model, shape)


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of one image [C, H, W] in convolutions and matrix products.

    Batch norm, activations, biases and pooling are not counted. Runs on the meta device: shapes
    only, no arithmetic.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    image = torch.empty((1, *input_shape), dtype=dtype, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(model, shapes, (image,))
    return counter.get_total_flops() // 2
