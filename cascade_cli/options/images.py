"""Where images and weights are, and how models run over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import typer

from cascade_cli.options.common import MOST
from cascade_cli.options.groups import option

RUNS_IN = (
    "Engine, precision and device: onnxruntime-int8-cpu, torch-bf16-cuda … "
    "[default: torch if installed]"
)
RUN_IN = RUNS_IN.replace(" [", " Several separated by commas. [")


@dataclass(frozen=True)
class ImageOptions:
    """Where images and weights are, for what has to be run first, and how it runs.

    `files` are weights by model, `aliases` models given as NAME=ARCHITECTURE:FILE, and `recorded`
    is what a policy says of its models. Several names are separated by commas.
    """

    data: str | None = option(None, "Folder that holds the images.", "-f", "--filepath", "--data")
    weights: str | None = option(None, "Folder with <model>.pt, .pth or .safetensors.")
    files: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    recorded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str | None = option(None, "cpu, cuda, cuda:1 … [default: a GPU if there]")
    precision: str = option("fp32", "fp32, tf32, bf16 or fp16.")
    runtime: str | None = option(None, RUN_IN)
    calibrate_on: str | None = option(
        None, "Split whose images set the ranges of int8: neither reported nor fitted on."
    )
    batch_size: int | None = None
    workers: int | None = option(
        None, "Decoding threads at most. [default: one per core]", min=1, max=256
    )
    part_rows: int | None = option(
        None, "Images per Parquet part. [default: 8192]", min=1, max=MOST
    )
    download: bool = option(False, "Fetch cifar10, cifar100, fashionmnist into --data.")
    overwrite: bool = option(False, "Replace logits made from something else.")
    variants: str = option("identity", "Of the pictures: identity, rot90, rot180, rot270, flip.")
    preprocess: str | None = option(None, "JSON of file: and onnx: models. [default: beside each]")
    decoder: str = option("pil", "What decodes images: pil or torchcodec.")
    unlabelled: bool = option(
        False, "Images without labels, in any folders of SPLIT or in --data itself."
    )
    unreadable: str = option("stop", "An image that cannot be decoded: stop or skip.")
    devices: str | None = option(None, "GPUs of this machine, such as 0,1,2.")
    shard: str | None = option(None, "i/n: make parts i, i+n, … only; see cache merge.")
    engine: str = option("local", "local, or ray for a cluster ($RAY_ADDRESS).")
    ray_workers: int | None = option(
        None, "Ray workers. [default: one per GPU, else per node]", min=1, max=MOST
    )
    dataset: str | None = option(None, "Dataset. [default: that of the first model, digits]", "-d")
    split: str | None = option(None, "Splits separated by commas. [default: all but train]")


CACHED = "Dataset. [default: that of the models, else the cache's only one]"


def _fit_split(context: typer.Context, value: str | None) -> str | None:
    """A callback: another split fits λ, or a half; a flag outranks a configured default."""
    if value is None or context.params.get("halves") is None:
        return value
    stated = [_is_stated(context, name) for name in ("halves", "fit_split")]
    if stated[0] == stated[1]:
        raise typer.BadParameter("half of the split fits λ: leave out this or --halves")
    if stated[0]:
        return None
    context.params["halves"] = None
    return value


def _stratified(context: typer.Context, value: bool) -> bool:
    """A callback: of halves only."""
    if context.params.get("halves") is None and _is_stated(context, "stratified"):
        raise typer.BadParameter("says how halves are cut: give --halves SEED too")
    return value


def _is_stated(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@dataclass(frozen=True)
class LogitsOptions(ImageOptions):
    """Which images' and models' logits are read, in which runtime, and which images fit λ."""

    dataset: str | None = option(None, CACHED, "-d")
    split: str | None = option(None, "Split to report. [default: test]")
    models: str | None = option(None, "Names separated by commas. [default: all]")
    fit_split: str | None = option(
        None,
        "Split that fits λ. [default: one that no model was trained on, else cross-fitted]",
        callback=_fit_split,
    )
    halves: int | None = option(
        None,
        "Instead: a random half of the split, by this seed, fits λ; the other is reported.",
        min=0,
        max=MOST,
        is_eager=True,  # so that the callbacks know it
    )
    stratified: bool = option(False, "Halves of each class, for --halves.", callback=_stratified)
    runtime: str | None = option(None, "Which runtime's logits, where the cache has several.")
    train: bool = option(False, "On the training split, as the original.", "-t")


@dataclass(frozen=True)
class RequestedOptions(LogitsOptions):
    """The same, where -d is how often each image is asked about."""

    dataset: str | None = option(None, CACHED, "--dataset")
