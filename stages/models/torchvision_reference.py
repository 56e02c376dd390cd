"""torchvision's other architectures and weights, as its weight enums describe them."""

from __future__ import annotations

from torchvision.models import Weights, get_model_weights

from cache import InputError, one_of
from stages.models.counting import counted
from stages.models.imagenet_table import published
from stages.models.spec import ModelSpec
from stages.runtimes import Preprocessing

DEFAULT = "IMAGENET1K_V1"


def spec(reference: str) -> ModelSpec:
    """`ARCHITECTURE@WEIGHTS`, or `ARCHITECTURE` with the weights `IMAGENET1K_V1`."""
    architecture, _, member = reference.partition("@")
    offered = {each.name: each for each in get_model_weights(architecture)}
    chosen = offered.get(member or DEFAULT)
    if chosen is None:
        raise one_of(f"weights of {architecture}", member or DEFAULT, offered)
    if not _classifies(chosen):
        raise InputError(f"{reference} gives features, not classes: choose other weights")
    return counted(
        ModelSpec(
            name=reference,
            dataset="imagenet",
            family="torchvision_imagenet",
            options={"architecture": architecture} | _options(architecture, chosen),
            classes=len(chosen.meta["categories"]),
            preprocessing=preprocessing(chosen),
            parameters=None,
            macs=None,
            head="",
            published=published(
                chosen.meta["_metrics"]["ImageNet-1K"]["acc@1"],
                chosen.url,
                chosen.meta.get("_ops"),
            ),
        )
    )


def preprocessing(weights: Weights) -> Preprocessing:
    """What `weights.transforms()` does to a PIL image."""
    preset = weights.transforms()
    [resize], [crop] = preset.resize_size, preset.crop_size
    mean, std = tuple(preset.mean), tuple(preset.std)
    return Preprocessing(mean, std, resize, (crop, crop), preset.interpolation.value)


def _classifies(weights: Weights) -> bool:
    top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    return isinstance(top1, int | float) and top1 == top1  # NaN for weights without a head


def _options(architecture: str, chosen: Weights) -> dict[str, int]:
    """What an architecture's shape takes from its weights: the side of a ViT's input."""
    return {"image_size": chosen.meta["min_size"][0]} if architecture.startswith("vit_") else {}
