"""What is only known of a model once it is built: its head, its size and its multiply-adds."""

from __future__ import annotations

from dataclasses import replace

import torch

from cache.errors import InputError
from stages.models.factory import instantiate
from stages.models.flops import count_macs
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
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=count_macs(model, (len(spec.preprocessing.mean), height, width)),
    )
