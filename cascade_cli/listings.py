"""`models` and `datasets`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated

import typer

from cascade_cli import options as opt
from cascade_cli.output import print_json, print_table

MODEL_COLUMNS = {
    "name": "name",
    "dataset": "dataset",
    "parameters": "parameters:,d",
    "macs": "multiply-adds:,d",
    "top1": "stated top-1:.2%",
    "trained_on": "trained on",
    "weights": "weights",
}
DATASET_COLUMNS = {
    "name": "name",
    "classes": "classes",
    "splits": "splits",
    "height": "height",
    "width": "width",
    "note": "note",
}


def register(app: typer.Typer) -> None:
    app.command("models")(models)
    app.command("datasets")(datasets)


def models(
    dataset: Annotated[
        str | None, typer.Option("-d", "--dataset", help="Of this dataset. [default: all]")
    ] = None,
    weights: opt.WeightsDir = None,
    as_json: opt.Json = False,
) -> None:
    """List the models: size, stated accuracy, what they were trained on, where the weights are.

    cascade models -d cifar10
    """
    from stages.models import listing

    rows = listing(dataset, weights)
    if as_json:
        print_json({"models": rows})
        return
    print_table(rows, MODEL_COLUMNS)


def datasets(
    data: opt.Data = None,
    as_json: opt.Json = False,
) -> None:
    """List the datasets, and what lies in a folder of images.

    cascade datasets --data photos
    """
    from stages.datasets import listing

    rows = listing(data)
    if as_json:
        print_json({"datasets": rows})
        return
    print_table(rows, DATASET_COLUMNS)
