"""VGG with batch norm for 32 × 32 images: five pooled stages and two hidden layers of 512.

Simonyan and Zisserman, Very Deep Convolutional Networks, 2014, table 1 (A, B, D, E).
"""

from __future__ import annotations

import torch
from torch import nn

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {  # depth → convolutions in each stage
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class VGG(nn.Module):
    """float [B, 3, H, W] → logits [B, classes]; what is left of H × W is averaged (1 × 1 at 32)."""

    def __init__(self, convolutions: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.features = _features(convolutions)
        self.classifier = nn.Sequential(*_hidden(), *_hidden(), nn.Linear(512, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def _features(convolutions: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for width, count in zip(WIDTHS, convolutions, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(True)]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _hidden() -> list[nn.Module]:
    return [nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Dropout()]


def build(classes: int, depth: int) -> nn.Module:
    """VGG-`depth` (11, 13, 16, 19) in eval mode, without trained weights."""
    return VGG(CONVOLUTIONS[depth], classes).eval()
