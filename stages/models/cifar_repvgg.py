"""RepVGG-A for 32 × 32 images: stem and first stage at stride 1, the other three at stride 2.

Ding et al., RepVGG: Making VGG-style ConvNets Great Again, 2021, tables 2 and 3. It is trained with
three parallel branches per layer; `fuse` folds them into one 3 × 3 convolution (§3.3).
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.functional import pad

from stages.models.layers import conv, stage

BLOCKS = (2, 4, 14, 1)
STRIDES = (1, 2, 2, 2)
WIDTHS = {  # variant → channels of stages 1 to 4
    "a0": (48, 96, 192, 1280),
    "a1": (64, 128, 256, 1280),
    "a2": (96, 192, 384, 1408),
}
STEM_LIMIT = 64


class Branch(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs, kernel, stride)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x))


class RepVGGBlock(nn.Module):
    """ReLU of the sum of a 3 × 3, a 1 × 1 and, where the shape is kept, a normalised identity."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        kept = inputs == outputs and stride == 1
        self.rbr_identity = nn.BatchNorm2d(inputs) if kept else None
        self.rbr_dense = Branch(inputs, outputs, 3, stride)
        self.rbr_1x1 = Branch(inputs, outputs, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.rbr_dense(x) + self.rbr_1x1(x)
        return self.relu(out if self.rbr_identity is None else out + self.rbr_identity(x))


class RepVGG(nn.Module):
    """float [B, 3, H, W] → logits [B, classes]."""

    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        inputs = min(STEM_LIMIT, widths[0])
        self.stage0: nn.Module = RepVGGBlock(3, inputs, 1)
        self.stage1 = stage(RepVGGBlock, inputs, widths[0], BLOCKS[0], STRIDES[0])
        self.stage2 = stage(RepVGGBlock, widths[0], widths[1], BLOCKS[1], STRIDES[1])
        self.stage3 = stage(RepVGGBlock, widths[1], widths[2], BLOCKS[2], STRIDES[2])
        self.stage4 = stage(RepVGGBlock, widths[2], widths[3], BLOCKS[3], STRIDES[3])
        self.linear = nn.Linear(widths[3], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stage2(self.stage1(self.stage0(x)))
        return self.linear(self.stage4(self.stage3(x)).mean((2, 3)))


def build(classes: int, variant: str) -> nn.Module:
    """RepVGG `variant` (a0, a1, a2) in eval mode, without trained weights, branches apart."""
    return RepVGG(WIDTHS[variant], classes).eval()


def fuse(model: nn.Module) -> nn.Module:
    """A copy with one biased 3 × 3 convolution per block: same logits up to rounding, eval only."""
    fused = copy.deepcopy(model).eval()
    for name, module in list(fused.named_modules()):
        if isinstance(module, RepVGGBlock):
            fused.set_submodule(name, nn.Sequential(_folded(module), nn.ReLU(inplace=True)))
    return fused


@torch.no_grad()
def _folded(block: RepVGGBlock) -> nn.Conv2d:
    dense, point, norm = block.rbr_dense, block.rbr_1x1, block.rbr_identity
    weight = dense.conv.weight
    parts = [_affine(weight, dense.bn), _affine(pad(point.conv.weight, (1, 1, 1, 1)), point.bn)]
    if norm is not None:
        parts.append(_affine(nn.init.dirac_(torch.empty_like(weight)), norm))
    kernels, biases = zip(*parts, strict=True)
    out, inputs = weight.shape[:2]
    folded = nn.Conv2d(inputs, out, 3, block.stride, padding=1).to(weight)
    folded.load_state_dict(
        {"weight": torch.stack(kernels).sum(0), "bias": torch.stack(biases).sum(0)}
    )
    return folded


def _affine(kernel: torch.Tensor, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """The float64 kernel and bias of a convolution followed by this batch norm in eval mode."""
    state = {name: tensor.double() for name, tensor in norm.state_dict().items()}
    scale = state["weight"] / (state["running_var"] + norm.eps).sqrt()
    bias = state["bias"] - state["running_mean"] * scale
    return kernel.double() * scale[:, None, None, None], bias
