"""`timm/NAME`: a model of timm's own registry, with the preprocessing of its pretrained_cfg.

Described, built, read and fetched without running anything from a hub.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import partial
from math import floor
from pathlib import Path

import timm
import torch
from timm.data import resolve_data_config
from timm.models import model_entrypoint
from timm.models._hub import download_cached_file
from torch import Tensor, nn

from cache import InputError, one_of
from stages.models.counting import counted
from stages.models.reference import TIMM
from stages.models.spec import ModelSpec
from stages.runtimes import INTERPOLATIONS, Preprocessing

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")  # architecture, then a tag of its weights


def build(classes: int, name: str) -> nn.Module:
    """The architecture in eval mode, without trained weights."""
    try:
        return _create(classes, name)
    except NotImplementedError:  # it reads numbers while it is built, which the meta device lacks
        with torch.device("cpu"):
            return _create(classes, name)


def adapt(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """A file's tensors under timm's names, by the architecture's own filter where they differ."""
    with torch.device("meta"):
        expected = set(build(1, name).state_dict())
    module = sys.modules[model_entrypoint(name.partition(".")[0]).__module__]
    convert = getattr(module, "checkpoint_filter_fn", None)
    if convert is None or expected <= set(state):
        return state
    try:
        converted: dict[str, Tensor] = convert(state, build(1, name))
    except Exception:  # a filter meets the files of other models in any way
        return state  # the check of names and shapes says what does not fit
    return converted


def fetch(name: str, download: bool) -> Path:
    """timm's published file from where timm keeps it, else from its address if allowed."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not (config.hf_hub_id or config.url):
        raise InputError(f"timm publishes no weights for {name}: give --weights DIR")
    if config.custom_load == "hf" or (config.custom_load and not config.hf_hub_id):
        raise InputError(f"only code of its own reads timm/{name}'s file: give --weights DIR")
    try:
        if config.hf_hub_id:
            return _from_hub(config.hf_hub_id, config.hf_hub_filename, download)
        if not download:
            raise FileNotFoundError(f"not fetched yet: {config.url}")
        return Path(download_cached_file(str(config.url), check_hash=True, progress=False))
    except Exception as error:  # a hub's client can fail in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(
            f"cannot fetch the weights of timm/{name} from {config.hf_hub_id or config.url} "
            f"({reason}): give --weights DIR, or --model NAME=timm/{name}:FILE"
        ) from error


def _create(classes: int, name: str) -> nn.Module:
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return model.eval()


def _from_hub(repository: str, file: str | None, download: bool) -> Path:
    """The repository's weights, as safetensors where it has them."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = repository.partition("@")
    usual = file or "pytorch_model.bin"
    safe = Path(file).with_suffix(".safetensors").name if file else "model.safetensors"
    fetch = partial(
        hf_hub_download, repository, revision=revision or None, local_files_only=not download
    )
    try:
        return Path(fetch(safe))
    except LocalEntryNotFoundError:
        if download:
            raise
    except EntryNotFoundError:
        pass  # it has none
    return Path(fetch(usual))


def spec(reference: str) -> ModelSpec:
    """The model that timm has under the name; InputError for what is no plain classifier."""
    name = reference.removeprefix(TIMM)
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{reference!r} is no name of timm's own registry: nothing is run from a hub or "
            "a folder"
        )
    if not timm.is_model(name):
        raise one_of("timm model", name, timm.list_models(), "timm.list_models()")
    try:
        config = timm.get_pretrained_cfg(name)
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
