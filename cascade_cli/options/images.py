"""Where images and weights are, and how models run over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from cascade_cli.options import common as opt

PartRows = Annotated[
    int | None,
    typer.Option(min=1, max=opt.MOST, help="Images per Parquet part. [default: 8192]"),
]
Variants = Annotated[
    str, typer.Option(help="Of the pictures: identity, rot90, rot180, rot270, flip.")
]


@dataclass(frozen=True)
class ImageOptions:
    """Where images and weights are, for what has to be run first.

    `files` are weights by model, `aliases` models given as NAME=ARCHITECTURE:FILE, and `recorded`
    is what a policy says of its models. Several names are separated by commas.
    """

    data: opt.Data = None
    weights: opt.WeightsDir = None
    files: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    recorded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    device: str | None = None
    precision: str = "fp32"
    batch_size: int | None = None
    workers: int | None = None
    part_rows: int | None = None
    download: bool = False
    overwrite: bool = False
    variants: str = "identity"
    preprocess: str | None = None
    decoder: str = "pil"
    unreadable: str = "stop"
    devices: str | None = None
    shard: str | None = None
    engine: str = "local"
    ray_workers: int | None = None


@dataclass(frozen=True)
class ExtractOptions(ImageOptions):
    """The same, all of it to be chosen."""

    preprocess: opt.Preprocess = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=opt.MOST,
            help="Images per forward pass. [default: 64 on a CPU, 256 on a GPU]",
        ),
    ] = None
    device: opt.Device = None
    devices: Annotated[
        str | None, typer.Option("--devices", help="GPUs of this machine, such as 0,1,2.")
    ] = None
    shard: Annotated[
        str | None, typer.Option("--shard", help="i/n: make parts i, i+n, … only; see cache merge.")
    ] = None
    engine: Annotated[
        str, typer.Option("--engine", help="local, or ray for a cluster ($RAY_ADDRESS).")
    ] = "local"
    ray_workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=opt.MOST, help="Ray workers. [default: one per GPU, else per node]"
        ),
    ] = None
    decoder: Annotated[
        str, typer.Option("--decoder", help="What decodes images: pil or torchcodec.")
    ] = "pil"
    unreadable: Annotated[
        str, typer.Option("--unreadable", help="An image that cannot be decoded: stop or skip.")
    ] = "stop"
    precision: opt.Precision = "fp32"
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Decoding threads. [default: one per core]")
    ] = None
    part_rows: PartRows = None
    download: Annotated[
        bool,
        typer.Option("--download", help="Fetch cifar10, cifar100, fashionmnist into --data."),
    ] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace logits made from something else.")
    ] = False
    variants: Variants = "identity"


@dataclass(frozen=True)
class LogitsOptions(ImageOptions):
    """Which images' logits are read, in which runtime, and which images fit λ."""

    dataset: Annotated[str | None, typer.Option("-d", "--dataset", help=opt.CACHED)] = None
    split: opt.Split = None
    fit_split: Annotated[
        str | None,
        typer.Option(
            "--fit-split",
            help="Split that fits λ. [default: one that no model was trained on, else "
            "cross-fitted]",
        ),
    ] = None
    runtime: opt.Runtime = None
