"""`import`: logits that something else computed."""

from __future__ import annotations

from dataclasses import dataclass

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.words import names_in, parse_macs
from cascade_cli.show.logits import LOGITS_COLUMNS
from cascade_cli.show.text import print_json, print_table, say
from stages import ingest


@dataclass(frozen=True)
class ImportOptions:
    """Which file holds whose logits of what, where the labels are, which columns are meant, and
    what only the user knows of the model."""

    dataset: str = opt.option(..., "Dataset name.", "-d")
    split: str = opt.option(..., "Split name.")
    model: str = opt.option(..., "Name the model gets in the cache.")
    logits: str = opt.option(..., "N×K array: npy, npz, pt, csv, parquet.")
    labels: str | None = opt.option(None, "N labels, same formats. [default: the cache's own]")
    logits_column: str | None = opt.option(
        None, "Array of an npz, column of lists, or how the classes' columns begin."
    )
    label_column: str | None = opt.option(
        None, "Array or column of the labels, without --labels of --logits."
    )
    class_names: str | None = opt.option(
        None, "Text file, a class a line; labels may be these words."
    )
    trained_on: str | None = opt.option(None, "Splits the model was trained on. [default: train]")
    macs: str | None = opt.option(None, "Multiply-adds per image, where known: 3e6, 1M.")
    overwrite: bool = opt.option(False, "Replace logits of this name.")


@opt.grouped("given cache as_json")
def import_logits(given: ImportOptions, common: opt.CommonOptions) -> None:
    """Bring in logits that something else computed, under the same contract.

    \b
    cascade import --dataset mine --split test --model big --logits big.npy --labels labels.npy
    """
    store = Store(common.cache)
    told = {
        "trained_on": tuple(names_in(given.trained_on) or ("train",)),
        "trained_on_source": "stated" if given.trained_on else "assumed",
        "macs": None if given.macs is None else parse_macs(given.macs),
    }
    request = ingest.ImportRequest(**(vars(given) | told))
    row = ingest.import_logits(store, request, say)
    if common.as_json:
        print_json({"dataset": given.dataset, "models": [row]})
        return
    print_table([row], {key: LOGITS_COLUMNS[key] for key in ("model", "split", "rows", "accuracy")})
