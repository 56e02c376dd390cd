"""What models run on, by the options for images, and the models as that takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from cache import InputError, Store
from cascade_cli.inputs.dataset import open_sources
from cascade_cli.inputs.models import choose_models
from cascade_cli.inputs.words import names_in
from cascade_cli.options.images import ImageOptions
from stages.datasets import Source, spec, split_name
from stages.models import Chosen, Target, for_engine
from stages.runtimes import (
    INT8,
    Device,
    open_device,
    require_engine,
    runtime_name,
    said_by,
    usual_engine,
)
from stages.scores import model_in

Images = TypeVar("Images", bound=ImageOptions)


def in_runtimes(images: Images) -> list[Images]:
    """The same for each runtime of `--runtime A,B`; InputError for one that is named twice."""
    names = names_in(images.runtime) or []
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--runtime names {name} twice: name each once")
    if len(names) > 1 and (images.devices or images.engine != "local"):
        raise InputError("several runtimes run in this process: leave out --devices and --engine")
    tf32 = [name for name in names if said_by(name) == ("torch", "tf32", "cuda")]
    if tf32 and sum(name.startswith("torch-") for name in names) > 1:
        raise InputError(f"{tf32[0]} switches all of torch to TF32: extract it in a run of its own")
    each = [replace(images, runtime=name) for name in names]
    return [in_runtime(one) for one in each or [images]]


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


def check_calibration(
    runs: Sequence[ImageOptions], splits: Sequence[str] = (), dataset: str = ""
) -> None:
    """InputError where `--calibrate-on` sets no ranges, or where its images would be reported."""
    split = runs[0].calibrate_on
    if split is None:
        return
    if all(images.precision != INT8 for images in runs):
        raise InputError("--calibrate-on is for int8: give --runtime onnxruntime-int8-cpu too")
    if splits and split_name(dataset, split) in splits:
        raise InputError(
            f"{split} would set the ranges of int8 and be reported too: calibrate on another split,"
            f" then extract {split} without --calibrate-on"
        )


def engine_for(images: ImageOptions) -> str:
    """That of their runtime, else the usual one."""
    said = said_by(images.runtime or "")
    return said[0] if said else usual_engine()


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
    """The models with their weights; with their file, made first, where their engine takes files
    alone."""
    chosen = choose_models(store, dataset, wanted, aliases, images)
    known = spec(dataset)
    target = Target(
        engine_for(images),
        images.precision,
        None if known is None else known.size,
        store.local_path("onnx") if store.local else None,
        _calibrating(store, dataset, images),
    )
    return [for_engine(one, target) for one in chosen]


def for_candidates(images: Images, names: Sequence[str]) -> Images:
    """The same for names in one runtime, MODEL or MODEL@RUNTIME, and files under their models'."""
    models = {name: model_in(name)[0] for name in names}
    runtime = model_in(names[0])[1]
    own = images
    if runtime is not None:
        own = in_runtime(replace(images, runtime=runtime, precision="fp32"))
    files = {models[name]: file for name, file in images.files.items() if name in models}
    recorded = {models[name]: it for name, it in images.recorded.items() if name in models}
    return replace(own, files=files, recorded=recorded)


def named_to_run(
    store: Store, dataset: str, names: Sequence[str], images: Images
) -> dict[str, tuple[Chosen, Images]]:
    """By name, MODEL or MODEL@RUNTIME: the model as it runs, and the options that it runs by.

    InputError for models on several kinds of device.
    """
    found = {}
    for name in names:
        own = for_candidates(images, [name])
        [one] = models_to_run(store, dataset, [model_in(name)[0]], [], own)
        found[name] = (replace(one, name=name), own)
    kinds = sorted({str(device_of(own)) for _, own in found.values()})
    if len(kinds) > 1:
        raise InputError(f"{' and '.join(names)} run on {' and '.join(kinds)}: run all on one")
    return found


def _calibrating(store: Store, dataset: str, images: ImageOptions) -> Callable[[], Source] | None:
    split = images.calibrate_on
    if split is None:
        return None
    own = replace(images, unlabelled=False)  # which is said of the splits that are extracted
    return lambda: open_sources(store, dataset, [split_name(dataset, split)], own)[0]
