"""`models` and `datasets`: what there is to choose from, and what the cache has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli.output import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cache import Manifest, Store

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

    there = _cached(Store(cache), "logits", ("dataset", "model"))
    rows = [
        _filled(row, there.pop((row["dataset"], row["name"]), ()))
        for row in listing(dataset, weights)
    ]
    rows += [
        _filled({"name": name, "dataset": of}, found)
        for (of, name), found in there.items()
        if dataset in (None, of)
    ]
    rows.sort(key=lambda row: not row["cached"])
    if as_json:
        print_json({"models": rows})
        return
    known = [row for row in rows if row["cached"] or row["weights"] or row["parameters"]]
    print_table(known or rows, MODEL_COLUMNS)
    if known and len(known) < len(rows):
        print(f"{len(rows) - len(known)} more architectures take weights of your own: see --json")


def _filled(row: dict[str, Any], manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The row, with what the cache tells of the model where the row does not."""
    facts = manifests[0].provenance if manifests else {}
    trained_on = facts.get("trained_on") or {}
    told = {key: facts.get(key) for key in ("parameters", "macs")}
    told |= {"trained_on": trained_on.get("splits"), "weights": None}
    own = {key: value for key, value in row.items() if value is not None}
    return row | told | own | {"cached": _splits(manifests)}


def datasets(data: opt.Data = None, cache: opt.Cache = None, as_json: opt.Json = False) -> None:
    """List the datasets, and what lies in a folder of images.

    \b
    cascade datasets --data photos
    """
    from cache import Store
    from stages.datasets import listing

    there = _cached(Store(cache), "samples", ("dataset",))
    rows = [row | {"cached": _splits(there.pop((row["name"],), ()))} for row in listing(data)]
    rows += [{"name": name, "cached": _splits(found)} for (name,), found in there.items()]
    if as_json:
        print_json({"datasets": rows})
        return
    print_table(rows, DATASET_COLUMNS)


def _cached(
    store: Store, table: str, keys: tuple[str, ...]
) -> dict[tuple[Any, ...], list[Manifest]]:
    """What is in the cache, by these keys of a table's partitions."""
    from cache import find

    there: dict[tuple[Any, ...], list[Manifest]] = {}
    for manifest in find(store, table):
        found = tuple(manifest.partition.keys[key] for key in keys)
        there.setdefault(found, []).append(manifest)
    return there


def _splits(manifests: Sequence[Manifest]) -> list[str]:
    return list(dict.fromkeys(manifest.partition.keys["split"] for manifest in manifests))
