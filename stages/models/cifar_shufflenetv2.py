"""ShuffleNetV2 for 32 × 32 images: the original with a stem of stride 1 and no first pooling.

Ma et al., ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, 2018, table 5.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import channel_shuffle

from stages.models.layers import conv_bn, stage

STEM = 24
BLOCKS = (4, 8, 4)
WIDTHS = {  # multiplier → channels of stages 2, 3, 4 and of the last convolution
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


class Unit(nn.Module):
    """Half of the channels pass (stride 1) or both halves are made anew (stride 2); then mix."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.split = stride == 1
        self.branch1 = nn.Identity() if self.split else nn.Sequential(*_shortcut(inputs, half))
        entry = half if self.split else inputs
        self.branch2 = nn.Sequential(
            *conv_bn(entry, half, 1, activation=nn.ReLU),
            *conv_bn(half, half, 3, stride, groups=half),
            *conv_bn(half, half, 1, activation=nn.ReLU),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, dim=1) if self.split else (x, x)
        both = torch.cat((self.branch1(left), self.branch2(right)), dim=1)
        # channel_shuffle keeps the layout of memory, but no exporter to ONNX knows it.
        return plain_shuffle(both) if torch.onnx.is_in_onnx_export() else channel_shuffle(both, 2)


def plain_shuffle(x: torch.Tensor) -> torch.Tensor:
    """channel_shuffle in two groups, of operations that every exporter knows."""
    batch, channels, height, width = x.shape
    halves = x.view(batch, 2, channels // 2, height, width)
    return halves.transpose(1, 2).reshape(batch, channels, height, width)


def _shortcut(inputs: int, outputs: int) -> list[nn.Module]:
    down = conv_bn(inputs, inputs, 3, stride=2, groups=inputs)
    return [*down, *conv_bn(inputs, outputs, 1, activation=nn.ReLU)]


class ShuffleNetV2(nn.Module):
    """float [B, 3, H, W] → logits [B, classes]."""

    def __init__(self, widths: tuple[int, int, int, int], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*conv_bn(3, STEM, 3, activation=nn.ReLU))
        self.stage2 = stage(Unit, STEM, widths[0], BLOCKS[0], stride=2)
        self.stage3 = stage(Unit, widths[0], widths[1], BLOCKS[1], stride=2)
        self.stage4 = stage(Unit, widths[1], widths[2], BLOCKS[2], stride=2)
        self.conv5 = nn.Sequential(*conv_bn(widths[2], widths[3], 1, activation=nn.ReLU))
        self.fc = nn.Linear(widths[3], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stage4(self.stage3(self.stage2(self.conv1(x))))
        return self.fc(self.conv5(x).mean((2, 3)))


def build(classes: int, width: float) -> nn.Module:
    """ShuffleNetV2 ×`width` (0.5, 1.0, 1.5, 2.0) in eval mode, without trained weights."""
    return ShuffleNetV2(WIDTHS[width], classes).eval()
