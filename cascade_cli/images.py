"""`extract` and `import`: what brings logits into the cache."""

from __future__ import annotations

import shlex
import time
from typing import Annotated

import typer

from cascade_cli import hashing
from cascade_cli import options as opt
from cascade_cli.costs import profile_new
from cascade_cli.output import print_json, print_table, say

COLUMNS = {
    "model": "model",
    "split": "split",
    "rows": "rows",
    "resumed_rows": "resumed",
    "images_per_second": "images/s:.0f",
    "accuracy": "top-1:.2%",
}
VARIANT_COLUMNS = {name: name for name in ("model", "split", "variant")} | COLUMNS
Models = Annotated[
    str,
    typer.Option(
        "--models", help="Names or references separated by commas, `all`, or `all-available`."
    ),
]
Aliases = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="A model of your own, NAME=ARCHITECTURE:FILE or NAME=file:PATH.pt2. Repeatable.",
    ),
]
Splits = Annotated[
    str | None,
    typer.Option("--split", help="Splits separated by commas. [default: all but train]"),
]


def register(app: typer.Typer) -> None:
    app.command("extract", short_help="Run every model once over every image.")(extract)
    app.command("import", short_help="Bring in logits that something else computed.")(import_logits)


def extract(
    dataset: opt.Dataset = None,
    data: opt.Data = None,
    split: Splits = None,
    models: Models = "",
    model: Aliases = None,
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    weights_1: opt.Weights1 = None,
    weights_2: opt.Weights2 = None,
    weights: opt.WeightsDir = None,
    preprocess: opt.Preprocess = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=opt.MOST,
            help="Images per forward pass. [default: 64 on a CPU, 256 on a GPU]",
        ),
    ] = None,
    device: opt.Device = None,
    devices: Annotated[
        str | None, typer.Option("--devices", help="GPUs of this machine, such as 0,1,2.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="i/n: make parts i, i+n, … only; see cache merge.")
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="local, or ray for a cluster ($RAY_ADDRESS).")
    ] = "local",
    ray_workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=opt.MOST, help="Ray workers. [default: one per GPU, else per node]"
        ),
    ] = None,
    decoder: opt.Decoder = "pil",
    unreadable: Annotated[
        str, typer.Option("--unreadable", help="An image that cannot be decoded: stop or skip.")
    ] = "stop",
    precision: opt.Precision = "fp32",
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Decoding threads. [default: one per core]")
    ] = None,
    part_rows: Annotated[
        int | None,
        typer.Option(min=1, max=opt.MOST, help="Images per Parquet part. [default: 8192]"),
    ] = None,
    download: Annotated[
        bool,
        typer.Option("--download", help="Fetch cifar10, cifar100, fashionmnist into --data."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace logits made from something else.")
    ] = False,
    variants: Annotated[
        str, typer.Option(help="Of the pictures: identity, rot90, rot180, rot270, flip.")
    ] = "identity",
    hashes: Annotated[
        str | None,
        typer.Option("--hashes", help="Hash the images too, as `cascade hash --algorithms`."),
    ] = None,
    profile: Annotated[
        bool, typer.Option(help="Measure latency and joules where the cache has none yet.")
    ] = True,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Run every model once over every image; write samples, logits, timings and costs.

    \b
    cascade extract -d cifar10 -f data --split test --models resnet20,resnet56 --weights weights
    """
    from cache import Store
    from cascade_cli import asking, gather
    from stages.variants import checked

    files = asking.weights_files(model_1, weights_1, model_2, weights_2)
    wanted = [name for name in (model_1, model_2) if name] + (asking.names(models or None) or [])
    first = next((name for name in wanted if name not in ("all", "all-available")), None)
    dataset = asking.dataset_for(dataset, None if model else first)
    wanted = wanted or ([] if model else ["all-available"])
    images = gather.Images(
        data=data,
        weights=weights,
        files=files,
        device=device,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        part_rows=part_rows,
        download=download,
        overwrite=overwrite,
        preprocess=preprocess,
        variants=tuple(checked(asking.names(variants) or [])),
        decoder=decoder,
        unreadable=unreadable,
        devices=asking.device_names(devices),
        shard=shard,
        engine=engine,
        ray_workers=ray_workers,
    )
    algorithms = hashing.chosen(hashes) if hashes is not None else []
    begun = time.monotonic()
    splits = gather.named_splits(dataset, split) or gather.extract_splits(dataset, images)
    rows = gather.extract(Store(cache), dataset, splits, wanted, model or [], images)
    seconds = time.monotonic() - begun
    if asking.shard(shard)[0] > 0:  # what is done once for all shards, the first one does
        profile, algorithms = False, []
    if profile:
        profile_new(Store(cache), dataset, wanted, model or [], images)
    hashed = hashing.hash_too(Store(cache), dataset, splits, algorithms, images, profile)
    if as_json:
        report = {"dataset": dataset, "models": [row | {"seconds": seconds} for row in rows]}
        print_json(report | ({"hashes": hashed} if algorithms else {}))
        return
    waiting = sum(not row["complete"] for row in rows)
    several = len({row["variant"] for row in rows}) > 1
    columns = VARIANT_COLUMNS if several else COLUMNS
    print_table(rows, columns | ({"complete": "complete"} if waiting else {}))
    if algorithms:
        print_table(hashed, hashing.COLUMNS)
    print(f"{dataset}: {len(rows)} partitions in {Store(cache).root}, {seconds:.1f} s")
    if waiting:
        print(f"{waiting} of them wait for the parts of other shards")
    elif len({row["model"] for row in rows}) > 1:
        where = "" if cache is None else f" --cache {shlex.quote(cache)}"
        print(f"next: `cascade search -d {dataset}{where}` tells which cascade to deploy")


def import_logits(
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Dataset name.")],
    split: Annotated[str, typer.Option("--split", help="Split name.")],
    model: Annotated[str, typer.Option("--model", help="Name the model gets in the cache.")],
    logits: Annotated[str, typer.Option("--logits", help="N×K array: npy, npz, pt, csv, parquet.")],
    labels: Annotated[
        str | None,
        typer.Option("--labels", help="N labels, same formats. [default: the cache's own]"),
    ] = None,
    logits_column: Annotated[
        str | None,
        typer.Option(
            "--logits-column",
            help="Array of an npz, column of lists, or how the classes' columns begin.",
        ),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(
            "--label-column", help="Array or column of the labels, without --labels of --logits."
        ),
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option("--class-names", help="Text file, a class a line; labels may be these words."),
    ] = None,
    trained_on: Annotated[
        str | None,
        typer.Option("--trained-on", help="Splits the model was trained on. [default: train]"),
    ] = None,
    macs: Annotated[
        str | None, typer.Option("--macs", help="Multiply-adds per image, where known: 3e6, 1M.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace logits of this name.")
    ] = False,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Bring in logits that something else computed, under the same contract.

    \b
    cascade import --dataset mine --split test --model big --logits big.npy --labels labels.npy
    """
    from cache import Store
    from cascade_cli import asking
    from cascade_cli.budgets import parse_macs
    from stages import importing

    store = Store(cache)
    request = importing.Request(
        dataset,
        split,
        model,
        logits,
        labels,
        tuple(asking.names(trained_on) or ("train",)),
        "stated" if trained_on else "assumed",
        None if macs is None else parse_macs(macs),
        overwrite,
        class_names,
        logits_column,
        label_column,
    )
    row = importing.run(store, request, say)
    if as_json:
        print_json({"dataset": dataset, "models": [row]})
        return
    print_table([row], {key: COLUMNS[key] for key in ("model", "split", "rows", "accuracy")})
