"""A classifier as a torch.export program: no architecture, its own batch, its own precision."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from cache import InputError
from stages.models.archive import Facts, facts, vetted
from stages.models.spec import ModelSpec


class Program(nn.Module):
    """An exported program, [B, C, H, W] → logits [B, K], for any B.

    A batch beyond what it was exported for runs in chunks, one below is filled up with its last
    picture. It keeps the layout and precision it was exported in.
    """

    def __init__(self, exported: torch.export.ExportedProgram, about: Facts) -> None:
        super().__init__()
        self.exported, self.about = exported, about
        self.run = exported.module()
        floating = (p.dtype for p in exported.parameters() if p.is_floating_point())
        self.dtype = next(floating, torch.float32)

    def forward(self, images: Tensor) -> Tensor:
        images = images.to(self.dtype).contiguous()
        chunks = images.split(self.about.largest or max(len(images), 1))
        return torch.cat([self._chunk(chunk) for chunk in chunks])

    def _chunk(self, images: Tensor) -> Tensor:
        lacking = self.about.smallest - len(images)
        if lacking <= 0:
            return self.run(images)
        filled = torch.cat([images, images[-1:].expand(lacking, -1, -1, -1)])
        return self.run(filled)[: len(images)]

    def train(self, mode: bool = True) -> Program:
        """Nothing: a program is exported as trained or not."""
        return self

    def to(self, *args: Any, **how: Any) -> Program:
        """Another device; InputError for another precision than float32, which is its own."""
        device, dtype, _, _ = torch._C._nn._parse_to(*args, **how)
        if dtype not in (None, torch.float32):
            raise InputError(
                "an exported program runs only in the precision it was exported in: leave out "
                "--precision, or export it in that precision"
            )
        if device is not None and device.type != "cpu":
            return Program(move_to_device_pass(self.exported, device), self.about)
        return self


def build(classes: int) -> nn.Module:
    """InputError: a program is its file."""
    raise InputError("an exported program cannot be built, only read: give its file")


def load(spec: ModelSpec, path: Path) -> nn.Module:
    """The program of a .pt2 file on the CPU; InputError for what is damaged or could run code."""
    copy, inputs = vetted(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch on what it reads, which was checked
            torch.load(io.BytesIO(inputs), weights_only=True)
            exported = torch.export.load(copy)
        return Program(exported, facts(path))
    except Exception as error:  # a damaged archive can raise nearly anything
        reason = (str(error).splitlines() or [""])[0][:200]
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}: {reason}): export it again"
        ) from error
