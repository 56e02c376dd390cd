"""Multiply-adds of a model, counted by torch's own FLOP counter."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode


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
