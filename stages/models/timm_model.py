"""timm's architectures, built and read without running anything from a hub."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import timm
import torch
from timm.models import model_entrypoint
from timm.models._hub import download_cached_file
from torch import Tensor, nn

from cache import InputError


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
