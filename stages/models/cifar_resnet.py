"""ResNet for 32 × 32 images: three stages of 16, 32 and 64 channels, depth 6n + 2.

He et al., Deep Residual Learning for Image Recognition, 2015, §4.2, with projection shortcuts.
"""

from __future__ import annotations

import torch
from torch import nn

from stages.models.layers import conv, conv_bn, stage


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv(outputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Identity()
            if (inputs, stride) == (outputs, 1)
            else nn.Sequential(*conv_bn(inputs, outputs, 1, stride))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class ResNet(nn.Module):
    """float [B, 3, H, W] → logits [B, classes]."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        self.conv1 = conv(3, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = stage(BasicBlock, 16, 16, blocks, stride=1)
        self.layer2 = stage(BasicBlock, 16, 32, blocks, stride=2)
        self.layer3 = stage(BasicBlock, 32, 64, blocks, stride=2)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def build(classes: int, depth: int) -> nn.Module:
    """ResNet-`depth` (20, 32, 44, 56, …) in eval mode, without trained weights."""
    return ResNet((depth - 2) // 6, classes).eval()
