"""What is only known of a model once it is built: its head, its size and its multiply-adds."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from cache import InputError
from stages.models.factory import instantiate
from stages.models.spec import ModelSpec


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


@lru_cache(maxsize=64)
def counts(spec: ModelSpec, classes: int, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Parameters and macs of a model of so many classes for pictures [C, H, W]."""
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
