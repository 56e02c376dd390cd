"""A package with two models of a small data set of one's own, its images and weights."""

from __future__ import annotations

import numpy as np
from plugged import installed
from running import png

CODE = """
from stages.models import ModelSpec
from stages.runtimes import Preprocessing

SPECS = [
    ModelSpec(
        name=f"mark_{width}", dataset="marks", family="mark_models", options={"width": width},
        classes=3, preprocessing=Preprocessing((0.5,) * 3, (0.5,) * 3, resize=(8, 8)),
        parameters=None, macs=None, head="3.weight",
    )
    for width in (2, 6)
]


def build(classes, width):
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.MaxPool2d(6), nn.Flatten(), nn.Linear(width, classes)
    ).eval()
"""
CLASSES = ("arc", "bar", "cross")
PER_CLASS = 6
N = PER_CLASS * len(CLASSES)
WIDTHS = {"small": 2, "big": 6}


def package(root):
    """The package, installed while this is open, in ROOT/site."""
    entries = {"cascade.models": {"marks": "mark_models:SPECS"}}
    return installed(root / "site", {"mark_models": CODE}, entries, "mark-models")


def write(root):
    """ROOT/images/{val,test} and the weights ROOT/w/{small,big}.pt; the package is there."""
    import torch

    from stages.models import build

    rng = np.random.default_rng(0)
    for split in ("val", "test"):
        for k, name in enumerate(CLASSES):
            folder = root / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(PER_CLASS):
                picture = rng.integers(0, 256, (8, 8, 3), np.uint8) // (k + 1)
                (folder / f"{i:02d}.png").write_bytes(png(picture))
    (root / "w").mkdir()
    for seed, (name, width) in enumerate(WIDTHS.items()):
        torch.manual_seed(seed)
        torch.save(build(f"mark_{width}").state_dict(), root / "w" / f"{name}.pt")


def alias(root, name):
    return f"{name}=mark_{WIDTHS[name]}:{root / 'w' / name}.pt"
