"""`import`: logits that something else computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cache import Store
from cascade_cli.inputs.words import names_in, parse_macs
from cascade_cli.options.common import CommonOptions
from cascade_cli.options.groups import grouped
from cascade_cli.show.logits import LOGITS_COLUMNS
from cascade_cli.show.text import print_json, print_table, say
from stages import ingest


@dataclass(frozen=True)
class LabelOptions:
    """Where the labels are, and which columns of a file are meant."""

    labels: Annotated[
        str | None,
        typer.Option("--labels", help="N labels, same formats. [default: the cache's own]"),
    ] = None
    logits_column: Annotated[
        str | None,
        typer.Option(
            "--logits-column",
            help="Array of an npz, column of lists, or how the classes' columns begin.",
        ),
    ] = None
    label_column: Annotated[
        str | None,
        typer.Option(
            "--label-column", help="Array or column of the labels, without --labels of --logits."
        ),
    ] = None
    class_names: Annotated[
        str | None,
        typer.Option("--class-names", help="Text file, a class a line; labels may be these words."),
    ] = None


@dataclass(frozen=True)
class StatedOptions:
    """What only the user knows of a model."""

    trained_on: Annotated[
        str | None,
        typer.Option("--trained-on", help="Splits the model was trained on. [default: train]"),
    ] = None
    macs: Annotated[
        str | None, typer.Option("--macs", help="Multiply-adds per image, where known: 3e6, 1M.")
    ] = None


@grouped(
    "dataset split model logits labels logits_column label_column class_names trained_on macs "
    "overwrite cache as_json"
)
def import_logits(
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Dataset name.")],
    split: Annotated[str, typer.Option("--split", help="Split name.")],
    model: Annotated[str, typer.Option("--model", help="Name the model gets in the cache.")],
    logits: Annotated[str, typer.Option("--logits", help="N×K array: npy, npz, pt, csv, parquet.")],
    labels: LabelOptions,
    stated: StatedOptions,
    common: CommonOptions,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace logits of this name.")
    ] = False,
) -> None:
    """Bring in logits that something else computed, under the same contract.

    \b
    cascade import --dataset mine --split test --model big --logits big.npy --labels labels.npy
    """
    store = Store(common.cache)
    request = ingest.ImportRequest(
        dataset,
        split,
        model,
        logits,
        labels.labels,
        tuple(names_in(stated.trained_on) or ("train",)),
        "stated" if stated.trained_on else "assumed",
        None if stated.macs is None else parse_macs(stated.macs),
        overwrite,
        labels.class_names,
        labels.logits_column,
        labels.label_column,
    )
    row = ingest.import_logits(store, request, say)
    if common.as_json:
        print_json({"dataset": dataset, "models": [row]})
        return
    print_table([row], {key: LOGITS_COLUMNS[key] for key in ("model", "split", "rows", "accuracy")})
