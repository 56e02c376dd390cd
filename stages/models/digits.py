"""Four small CNNs of different kinds for the embedded digits, inputs [B, 1, 8, 8] → logits [B, K].

Each sees the picture in its own way, so that they fail on different pictures; multiply-adds rise
in the order of the definitions, and so does accuracy (`digits.csv`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.models.layers import conv_bn


class Wide(nn.Module):
    """One strided layer of many filters, averaged over the four quarters of the picture."""

    def __init__(self, classes: int = 10, width: int = 48) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.head = nn.Linear(width * 2 * 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(functional.relu(self.conv(x)), 2)
        return self.head(torch.flatten(x, 1))


def _conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias and its batch norm."""
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, stride, groups))


class SeparableBlock(nn.Module):
    """A 3×3 filter per channel, then a 1×1 mix of the channels (MobileNet, arXiv:1704.04861)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = _conv(inputs, inputs, stride=stride, groups=inputs)
        self.pointwise = _conv(inputs, outputs, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.pointwise(functional.relu(self.depthwise(x))))


class Separable(nn.Module):
    """A strided stem and two depth-wise separable blocks, averaged over space."""

    def __init__(self, classes: int = 10, width: int = 12) -> None:
        super().__init__()
        self.stem = _conv(1, width, stride=2)
        self.blocks = nn.Sequential(
            SeparableBlock(width, 2 * width), SeparableBlock(2 * width, 2 * width)
        )
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(functional.relu(self.stem(x))).mean((2, 3)))


class Plain(nn.Module):
    """LeNet's plan: convolution, pooling, convolution, pooling, one linear layer over places."""

    def __init__(self, classes: int = 10, width: int = 12) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.head = nn.Linear(2 * width * 2 * 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        return self.head(torch.flatten(x, 1))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a short cut (ResNet, arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs, stride=stride)
        self.conv2 = _conv(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv2(functional.relu(self.conv1(x))) + self.shortcut(x))


class Residual(nn.Module):
    """A stem and three residual blocks, the second of them halving the picture."""

    def __init__(self, classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.stem = _conv(1, width)
        self.blocks = nn.Sequential(
            ResidualBlock(width, width),
            ResidualBlock(width, 2 * width, stride=2),
            ResidualBlock(2 * width, 2 * width),
        )
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(functional.relu(self.stem(x))).mean((2, 3)))


KINDS: dict[str, type[nn.Module]] = {
    "wide": Wide,
    "separable": Separable,
    "plain": Plain,
    "residual": Residual,
}


def build(classes: int, kind: str) -> nn.Module:
    """The network of one of `KINDS` in eval mode, without trained weights."""
    return KINDS[kind](classes).eval()
