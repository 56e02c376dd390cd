"""`models` and `datasets`: what there is to choose from, and what the cache has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli.output import print_json, print_table

if TYPE_CHECKING:
    from cache import Store

MODEL_COLUMNS = {
    "name": "name",
    "dataset": "dataset",
    "parameters": "parameters:,d",
    "macs": "multiply-adds:,d",
    "top1": "stated top-1:.2%",
    "trained_on": "trained on",
    "weights": "weights",
    "cached": "cached splits",
}
DATASET_COLUMNS = {
    "name": "name",
    "classes": "classes",
    "splits": "splits",
    "height": "height",
    "width": "width",
    "cached": "cached splits",
    "note": "note",
}


def register(app: typer.Typer) -> None:
    app.command("models", short_help="List the models: size, accuracy, what they saw.")(models)
    told = "List the datasets, and what lies in a folder of images."
    app.command("datasets", short_help=told)(datasets)


def models(
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="Of this dataset. [default: all]")
    ] = None,
    weights: opt.WeightsDir = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """List the models: size, stated accuracy, what they were trained on, where the weights are.

    \b
    cascade models -d cifar10
    """
    from cache import Store
    from stages.models import listing

    splits = _cached(Store(cache), "logits", ("dataset", "model"))
    rows = [
        row | {"cached": splits.pop((row["dataset"], row["name"]), [])}
        for row in listing(dataset, weights)
    ]
    rows += [
        {"name": name, "dataset": of, "cached": there}
        for (of, name), there in splits.items()
        if dataset in (None, of)
    ]
    if as_json:
        print_json({"models": rows})
        return
    print_table(rows, MODEL_COLUMNS)


def datasets(data: opt.Data = None, cache: opt.Cache = None, as_json: opt.Json = False) -> None:
    """List the datasets, and what lies in a folder of images.

    \b
    cascade datasets --data photos
    """
    from cache import Store
    from stages.datasets import listing

    splits = _cached(Store(cache), "samples", ("dataset",))
    rows = [row | {"cached": splits.pop((row["name"],), [])} for row in listing(data)]
    rows += [{"name": name, "cached": there} for (name,), there in splits.items()]
    if as_json:
        print_json({"datasets": rows})
        return
    print_table(rows, DATASET_COLUMNS)


def _cached(store: Store, table: str, keys: tuple[str, ...]) -> dict[tuple[Any, ...], list[str]]:
    """Splits in the cache, by these keys of a table's partitions."""
    from cache import find

    splits: dict[tuple[Any, ...], list[str]] = {}
    for manifest in find(store, table):
        found = manifest.partition.keys
        there = splits.setdefault(tuple(found[key] for key in keys), [])
        if found["split"] not in there:
            there.append(found["split"])
    return splits
