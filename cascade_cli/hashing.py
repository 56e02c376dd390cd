"""`hash`: the keys that a memory recognises images by, and how much they put up with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli.output import print_json, print_table, progress, say, table_file, write_rows

if TYPE_CHECKING:
    from cache import Store
    from cascade_cli.gather import Images

Row = dict[str, Any]
COLUMNS = {
    "algorithm": "hash",
    "split": "split",
    "variant": "variant",
    "rows": "rows",
    "resumed_rows": "resumed",
    "distinct": "distinct keys",
    "key_bytes": "bytes",
}
ROBUSTNESS = {
    "algorithm": "hash",
    "radius": "radius",
    "kind": "change",
    "perturbation": "by",
    "n": "images",
    "recall": "finds itself:.1%",
    "false_hit_rate": "finds another:.1%",
}


def register(app: typer.Typer) -> None:
    told = "Hash every image, for a memory in front of a cascade."
    app.command("hash", short_help=told)(hash_images)


def hash_images(
    dataset: opt.Dataset = None,
    data: opt.Data = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Splits separated by commas. [default: all but train]"),
    ] = None,
    algorithms: Annotated[
        str,
        typer.Option(
            help="dhash, canonical-dhash, invariants, phash, ahash, whash, separated by commas, "
            "`all`, or `all-available` (whose packages are installed)."
        ),
    ] = "all-available",
    variants: Annotated[
        str, typer.Option(help="Of the pictures: identity, rot90, rot180, rot270, flip.")
    ] = "identity",
    invariant_digits: Annotated[
        int | None,
        typer.Option(help="Round the invariants to so many digits: the hash `invariants-N`."),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Instead: which changes of an image each hash survives."),
    ] = False,
    limit: Annotated[
        int, typer.Option("-n", "--limit", min=1, max=opt.MOST, help="Images for --robustness.")
    ] = 1000,
    radius: Annotated[
        str, typer.Option(help="Hamming distances for --robustness, separated by commas.")
    ] = "0",
    seed: Annotated[int, typer.Option(min=0, help="Of the noise for --robustness.")] = 0,
    figures: Annotated[
        str | None, typer.Option("--figures", help="Folder for --robustness as PNG and SVG.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Threads. [default: one per core]")
    ] = None,
    part_rows: Annotated[
        int | None,
        typer.Option(min=1, max=opt.MOST, help="Images per Parquet part. [default: 8192]"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace hashes made from something else.")
    ] = False,
    profile: Annotated[
        bool, typer.Option(help="Measure what a hash costs where the cache does not know.")
    ] = True,
    device: opt.Device = None,
    output: opt.Output = None,
    for_spreadsheets: opt.ForSpreadsheets = False,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Hash every image, turned as asked; write the keys, and what a hash costs.

    \b
    cascade hash -d digits --algorithms dhash,invariants --variants identity,rot90
    cascade hash -d digits --robustness --figures figures
    """
    from cache import Store
    from cascade_cli import asking, gather
    from stages.variants import checked

    table = table_file(output, for_spreadsheets)
    _check_together(robustness, figures)
    images = gather.Images(
        data,
        device=device,
        workers=workers,
        part_rows=part_rows,
        overwrite=overwrite,
        variants=tuple(checked(asking.names(variants) or [])),
    )
    dataset = asking.dataset_for(dataset)
    names = chosen(algorithms, invariant_digits)
    splits = gather.named_splits(dataset, split) or gather.extract_splits(dataset, images)
    store = Store(cache)
    if robustness:
        how = (limit, _radii(radius), seed)
        rows = _robustness(store, dataset, splits[-1], names, how, images)
        report = {"split": splits[-1], "rows": rows, "figures": _draw(rows, dataset, figures)}
    else:
        rows = hash_splits(store, dataset, splits, names, images)
        costs = measure(store, dataset, splits[-1], names, images) if profile else []
        report = {"hashes": rows, "costs": costs}
    write_rows(rows, table)
    if as_json:
        print_json({"dataset": dataset} | report)
        return
    print_table(rows, ROBUSTNESS if robustness else COLUMNS)
    for file in report.get("figures", ()):
        print(f"wrote {file}")


def _check_together(robustness: bool, figures: str | None) -> None:
    from cache import InputError

    if figures is not None and not robustness:
        raise InputError("--figures draws the robustness of hashes: give --robustness too")


def chosen(algorithms: str, invariant_digits: int | None = None) -> list[str]:
    """The names of the hashes asked for; with digits, the rounded invariants for the exact ones."""
    from cascade_cli import asking
    from stages.hashes import ALL, HASHES, hash_of, rounded_name

    groups = {"all": ALL, "all-available": [name for name in ALL if not HASHES[name].missing]}
    asked = asking.names(algorithms) or []
    names = [name for word in asked for name in groups.get(word, [word])]
    for name in names:
        hash_of(name)
    if invariant_digits is None:
        return list(dict.fromkeys(names))
    renamed = {"invariants": rounded_name(invariant_digits)}
    return list(dict.fromkeys(renamed.get(name, name) for name in names))


def _radii(text: str) -> list[int]:
    from cache import InputError
    from cascade_cli import asking

    words = asking.names(text) or []
    for word in words:
        if not word.isdecimal() or int(word) > 64:
            raise InputError(f"radius {word!r} is no whole number from 0 to 64")
    return [int(word) for word in words]


def hash_splits(
    store: Store, dataset: str, splits: Sequence[str], algorithms: Sequence[str], images: Images
) -> list[Row]:
    """Write the hashes of the splits' images, in `images.variants`; rows as stages.hash gives."""
    from cache.schema import PART_ROWS
    from cascade_cli import gather
    from stages import hash as stage

    sources = gather.open_sources(store, dataset, splits, images)
    rows = []
    with progress(f"hashing {dataset}") as tell:
        for source in sources:
            rows += stage.run(
                store,
                source,
                algorithms,
                images.variants,
                images.workers,
                images.part_rows or PART_ROWS,
                images.overwrite,
                tell,
            )
    return rows


def hash_too(
    store: Store,
    dataset: str,
    splits: Sequence[str],
    algorithms: Sequence[str],
    images: Images,
    profile: bool,
) -> list[Row]:
    """What another command hashes after its own work."""
    if not algorithms:
        return []
    rows = hash_splits(store, dataset, splits, algorithms, images)
    if profile:
        measure(store, dataset, splits[-1], algorithms, images)
    return rows


def measure(
    store: Store, dataset: str, split: str, algorithms: Sequence[str], images: Images
) -> list[Row]:
    """Cost rows of the hashes that have none beside the device that models run on."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        say("what a hash costs is measured where PyTorch is installed")
        return []
    from cascade_cli import gather
    from stages import hash_costs as stage
    from stages.energy import open_meters
    from stages.hashes import hash_of
    from stages.inference import open_device

    device = open_device(images.device)
    new = stage.unmeasured(store, dataset, [hash_of(name) for name in algorithms], device)
    if not new:
        return []
    [source] = gather.open_sources(store, dataset, [split], images)
    meters = open_meters(["cpu"])
    try:
        with progress("measuring hashes") as tell:
            rows = stage.run(store, source, new, device, meters, tell)
    finally:
        for meter in meters:
            meter.close()
    for row in rows:
        say(f"{row['model'].removeprefix('hash:')}: {1e3 * row['latency_ms']:.0f} µs an image")
    return rows


def _robustness(
    store: Store,
    dataset: str,
    split: str,
    algorithms: Sequence[str],
    how: tuple[int, list[int], int],
    images: Images,
) -> list[Row]:
    from cascade_cli import gather
    from stages import robustness as stage

    limit, radii, seed = how
    [source] = gather.open_sources(store, dataset, [split], images)
    with progress("changing images") as tell:
        rows = stage.run(source, algorithms, limit, radii, seed, images.workers, tell)
    return [{"dataset": dataset, "split": split} | row for row in rows]


def _draw(rows: Sequence[Row], dataset: str, folder: str | None) -> list[str]:
    """The files written, none without a folder."""
    if folder is None:
        return []
    from stages.report import robustness, save_figures

    drawn = robustness.figures(rows, dataset, rows[0]["split"])
    return [str(file) for file in save_figures(drawn, Path(folder))]
