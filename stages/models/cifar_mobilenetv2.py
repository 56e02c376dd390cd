"""MobileNetV2 for 32 × 32 images: the original with the first two strides of 2 taken out.

Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018, table 2.
"""

from __future__ import annotations

import torch
from torch import nn

from stages.models.layers import conv_bn

STAGES = (  # expansion, channels at width 1, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Bottleneck(nn.Module):
    """Expand (1 × 1), filter each channel (3 × 3), project (1 × 1, linear); add the input."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = [_unit(inputs, hidden, 1)] if expansion > 1 else []
        layers.append(_unit(hidden, hidden, 3, stride, groups=hidden))
        self.conv = nn.Sequential(*layers, *conv_bn(hidden, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """float [B, 3, H, W] → logits [B, classes]."""

    def __init__(self, width: float, classes: int) -> None:
        super().__init__()
        inputs = channels(32 * width)
        layers: list[nn.Module] = [_unit(3, inputs, 3)]
        for expansion, base, blocks, stride in STAGES:
            for i in range(blocks):
                outputs = channels(base * width)
                layers.append(Bottleneck(inputs, outputs, 1 if i else stride, expansion))
                inputs = outputs
        last = channels(1280 * max(1.0, width))
        self.features = nn.Sequential(*layers, _unit(inputs, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def channels(wanted: float) -> int:
    """The nearest multiple of 8 that loses at most a tenth.

    >>> channels(12), channels(16.0), channels(44.8)
    (16, 16, 48)
    """
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def _unit(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(*conv_bn(inputs, outputs, kernel, stride, groups, nn.ReLU6))


def build(classes: int, width: float) -> nn.Module:
    """MobileNetV2 ×`width` in eval mode, without trained weights."""
    return MobileNetV2(width, classes).eval()
