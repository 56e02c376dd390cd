"""torchvision's classifiers, inputs [B, 3, h, w] → logits [B, K].

`spec` describes those that no table has, and other weights, as torchvision's enums do.
googlenet and inception_v3 are built without the auxiliary heads that only training uses, and renew
their input's normalisation as the published weights expect it (`transform_input`).
"""

from __future__ import annotations

import re
from math import isnan
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import Weights, get_model, get_model_weights

from cache import InputError, one_of
from stages.models.counting import counted
from stages.models.spec import ModelSpec
from stages.models.tables import TORCHVISION, published
from stages.runtimes import Preprocessing

DEFAULT = "IMAGENET1K_V1"
_INFERENCE = {"aux_logits": False, "transform_input": True, "init_weights": True}
FIXED = {"googlenet": _INFERENCE, "inception_v3": _INFERENCE}
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}

# Published files keep the names that tensors had before torchvision renamed its modules.
_RENAMED: dict[str, tuple[re.Pattern[str], Any]] = {
    "densenet": (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2"),
    "vit": (re.compile(r"\.mlp\.linear_([12])\."), lambda old: f".mlp.{3 * (int(old[1]) - 1)}."),
}


def build(classes: int, architecture: str, **options: Any) -> nn.Module:
    """The architecture of that name in eval mode, without trained weights."""
    options = FIXED.get(architecture, {}) | options
    if not architecture.startswith("regnet"):
        return get_model(architecture, weights=None, num_classes=classes, **options).eval()
    with torch.device("cpu"):  # it reads its widths out of tensors, which the meta device cannot
        model = get_model(architecture, weights=None, num_classes=1, **options)
    model.fc = nn.Linear(model.fc.in_features, classes)
    return model.eval()


def adapt(state: dict[str, Tensor], architecture: str, **options: Any) -> dict[str, Tensor]:
    """A file's tensors under the names of `build`'s, without those of the auxiliary heads."""
    unused = AUXILIARY.get(architecture, ())
    state = {name: tensor for name, tensor in state.items() if not name.startswith(unused)}
    for family, (old, new) in _RENAMED.items():
        if architecture.startswith(family):
            state = {old.sub(new, name): tensor for name, tensor in state.items()}
    return state


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
