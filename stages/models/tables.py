"""The models with published or shipped weights: a CSV file per dataset, a line per model.

CIFAR-10's are chenyaofo/pytorch-cifar-models, ImageNet's are torchvision's with the weights
`IMAGENET1K_V1`, the digits' were trained by `tools/train_digits.py`. `parameters` and `macs` are
counted on our definitions for what runs (one image of the input's size, the auxiliary heads of
training left out); `top1` on the official test or validation images, `published_macs` and `url` are
the authors' own. All training images went into the weights.
"""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

from stages.datasets import SPECS as DATASETS
from stages.models.spec import ModelSpec, Published
from stages.runtimes import Preprocessing

TORCHVISION = "https://docs.pytorch.org/vision/stable/models.html"
SOURCES = {
    "cifar10": "https://github.com/chenyaofo/pytorch-cifar-models",
    "imagenet": TORCHVISION,
}
# The columns of build options, and what their values are.
OPTIONS = {"architecture": str, "depth": int, "kind": str, "variant": str, "width": float}

# torch.hub's rule: the hexadecimal digits between the last dash and the suffix.
_HASH = re.compile(r"-([0-9a-f]{8,})\.pth?$")


def published(top1: float, url: str, macs: int | None, source: str) -> Published:
    """Weights at `url`, whose name holds the start of their hash, or does not."""
    found = _HASH.search(url)
    return Published(top1, url, found[1] if found else "", macs, source)


def _table(dataset: str) -> tuple[ModelSpec, ...]:
    file = Path(__file__).with_name(f"{dataset}.csv")
    with open(file, encoding="utf-8", newline="") as lines:
        return tuple(_spec(dataset, row) for row in csv.DictReader(lines))


def _spec(dataset: str, row: dict[str, str]) -> ModelSpec:
    home, top1 = DATASETS[dataset], float(row["top1"])
    preprocessing = Preprocessing(home.mean, home.std)
    if "crop" in row:
        resize, crop, interpolation = int(row["resize"]), int(row["crop"]), row["interpolation"]
        preprocessing = replace(
            preprocessing, resize=resize, crop=(crop, crop), interpolation=interpolation
        )
    spec = ModelSpec(
        name=row["name"],
        dataset=dataset,
        family=row["family"],
        options={key: of(row[key]) for key, of in OPTIONS.items() if row.get(key)},
        classes=home.classes,
        preprocessing=preprocessing,
        parameters=int(row["parameters"]),
        macs=int(row["macs"]),
        head=row["head"],
        fusible=row.get("fusible") == "yes",
    )
    if "shipped" in row:
        return replace(spec, shipped=row["shipped"], shipped_top1=top1)
    macs = int(row["published_macs"])
    return replace(spec, published=published(top1, row["url"], macs, SOURCES[dataset]))


CIFAR10, DIGITS, IMAGENET = (_table(dataset) for dataset in ("cifar10", "digits", "imagenet"))
