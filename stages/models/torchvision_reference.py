"""torchvision's other architectures and weights, as its weight enums describe them."""

from __future__ import annotations

from math import isnan

from torchvision.models import Weights, get_model_weights

from cache import InputError, one_of
from stages.models.counting import counted
from stages.models.spec import ModelSpec
from stages.models.tables import TORCHVISION, published
from stages.runtimes import Preprocessing

DEFAULT = "IMAGENET1K_V1"


def spec(reference: str) -> ModelSpec:
    """`ARCHITECTURE@WEIGHTS`, or `ARCHITECTURE` with the weights `IMAGENET1K_V1`."""
    architecture, _, member = reference.partition("@")
    offered = {each.name: each for each in get_model_weights(architecture)}
    chosen = offered.get(member or DEFAULT)
    if chosen is None:
        raise one_of(f"weights of {architecture}", member or DEFAULT, offered)
    top1 = chosen.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    if not isinstance(top1, int | float) or isnan(top1):  # weights without a head
        raise InputError(f"{reference} gives features, not classes: choose other weights")
    gmacs = chosen.meta.get("_ops")
    macs = None if gmacs is None else round(gmacs * 1e9)
    # the side of a ViT's input is part of its shape
    side = {"image_size": chosen.meta["min_size"][0]} if architecture.startswith("vit_") else {}
    return counted(
        ModelSpec(
            name=reference,
            dataset="imagenet",
            family="torchvision_imagenet",
            options={"architecture": architecture} | side,
            classes=len(chosen.meta["categories"]),
            preprocessing=preprocessing(chosen),
            parameters=None,
            macs=None,
            head="",
            published=published(round(top1 / 100, 5), chosen.url, macs, TORCHVISION),
        )
    )


def preprocessing(weights: Weights) -> Preprocessing:
    """What `weights.transforms()` does to a PIL image."""
    preset = weights.transforms()
    [resize], [crop] = preset.resize_size, preset.crop_size
    mean, std = tuple(preset.mean), tuple(preset.std)
    return Preprocessing(mean, std, resize, (crop, crop), preset.interpolation.value)
