"""What models run on, by the options for images, and the models as that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from cache import InputError, Store
from cascade_cli.inputs.models import choose_models
from cascade_cli.options.images import ImageOptions
from stages.datasets import spec
from stages.models import Chosen, for_engine
from stages.runtimes import Device, open_device, require_engine, runtime_name, said_by

Images = TypeVar("Images", bound=ImageOptions)


def in_runtime(images: Images) -> Images:
    """The same, with the precision and device that their runtime's name says, where one is given.

    InputError for one that nothing here runs, and for options that contradict it.
    """
    if images.runtime is None:
        return images
    require_engine(images.runtime)
    engine, precision, kind = said_by(images.runtime) or ("", "", "")
    if engine != "torch" and (images.devices or images.engine != "local"):
        raise InputError(
            f"{images.runtime} runs in this process alone: leave out --devices and --engine"
        )
    device = images.device or kind
    if device.partition(":")[0] != kind or images.precision not in ("fp32", precision):
        raise InputError(
            f"--runtime {images.runtime} says precision and device: leave out --precision and "
            "--device"
        )
    return replace(images, precision=precision, device=device)


def engine_for(images: ImageOptions) -> str:
    """That of their runtime, else torch."""
    said = said_by(images.runtime or "")
    return said[0] if said else "torch"


def device_of(images: ImageOptions) -> Device:
    """What the images are run on."""
    return open_device(images.device, images.precision, engine_for(images))


def runtime_of(images: ImageOptions) -> str:
    """The runtime that images would be run in."""
    return runtime_name(device_of(images), images.precision)


def models_to_run(
    store: Store,
    dataset: str,
    wanted: Sequence[str],
    aliases: Sequence[str],
    images: ImageOptions,
) -> list[Chosen]:
    """The models with their weights, exported first where their engine takes ONNX files alone."""
    chosen = choose_models(store, dataset, wanted, aliases, images)
    folder, known = store.local_path("onnx") if store.local else None, spec(dataset)
    size = None if known is None else known.size
    return [for_engine(one, engine_for(images), size, folder) for one in chosen]
