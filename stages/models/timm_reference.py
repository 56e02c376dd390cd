"""`timm/NAME`: a model of timm's own registry, with the preprocessing of its pretrained_cfg."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import floor

from cache import InputError, one_of
from stages.models.counting import counted
from stages.models.reference import TIMM
from stages.models.spec import ModelSpec
from stages.runtimes import INTERPOLATIONS, Preprocessing

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")  # architecture, then a tag of its weights


def spec(reference: str) -> ModelSpec:
    """The model that timm has under the name; InputError for what is no plain classifier."""
    import timm
    from timm.models import get_pretrained_cfg, is_model

    name = reference.removeprefix(TIMM)
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{reference!r} is no name of timm's own registry: nothing is run from a hub or "
            "a folder"
        )
    if not is_model(name):
        raise one_of("timm model", name, timm.list_models(), "timm.list_models()")
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError as error:
        raise InputError(f"{reference}: {error}; see timm.list_pretrained()") from error
    about = config.to_dict() if config is not None else {}
    _check(reference, about)
    return counted(
        ModelSpec(
            name=reference,
            dataset="imagenet",
            family="timm_model",
            options={"name": name},
            classes=about["num_classes"],
            preprocessing=_preprocessing(reference, about),
            parameters=None,
            macs=None,
            head="",
            fetches=True,
        )
    )


def _check(reference: str, about: Mapping[str, object]) -> None:
    if not about.get("num_classes"):
        raise InputError(f"{reference} gives features, not classes: choose another")
    if about.get("label_offset"):
        raise InputError(f"{reference} counts a class of its own for nothing: choose another")


def _preprocessing(reference: str, about: Mapping[str, object]) -> Preprocessing:
    """timm's evaluation transform: the shorter side to side ÷ crop_pct, then the centre."""
    from timm.data import resolve_data_config

    config = resolve_data_config(pretrained_cfg=dict(about))
    channels, height, width = config["input_size"]
    mode, interpolation = config["crop_mode"], config["interpolation"]
    if channels not in (1, 3) or interpolation not in INTERPOLATIONS:
        raise InputError(
            f"{reference} takes {channels} channels resized by {interpolation}: not supported"
        )
    scaled = floor(height / config["crop_pct"]), floor(width / config["crop_pct"])
    if mode == "squash":
        resize: int | tuple[int, int] = scaled
    elif mode == "center" and height == width:
        resize = scaled[0]
    else:
        raise InputError(
            f"{reference} crops {height}×{width} pictures by {mode!r}: not supported; use a model "
            "that takes the centre of a square"
        )
    mean, std = tuple(config["mean"]), tuple(config["std"])
    return Preprocessing(mean, std, resize, (height, width), interpolation)
