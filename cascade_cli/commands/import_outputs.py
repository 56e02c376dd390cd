"""`import`: outputs of a model that something else computed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

import typer

from cache import OUTPUTS, InputError, Store
from cascade_cli import options as opt
from cascade_cli.commands.import_costs import bring_costs
from cascade_cli.inputs.few_labels import bring_labels
from cascade_cli.inputs.flags import refuse
from cascade_cli.inputs.words import names_in, parse_macs
from cascade_cli.show.logits import LOGITS_COLUMNS
from cascade_cli.show.text import print_json, print_table, say
from stages import costs, ingest

_LOG = "log"
_COLUMNS = LOGITS_COLUMNS | {"kind": "kind", "classes": "classes", "macs": "MACs"}


@dataclass(frozen=True)
class ImportOptions:
    """Which file holds whose logits of what, where the labels are, which columns are meant, and
    what only the user knows of the model."""

    dataset: str | None = opt.option(None, "Dataset name.", "-d")
    split: str | None = opt.option(None, "Split name. [default: subfolders name them]")
    model: str | None = opt.option(
        None, "Name the model gets in the cache. [default: each that the file or folder holds]"
    )
    logits: str | None = opt.option(None, "N×K array: npy, npz, pt, csv, parquet.")
    probabilities: str | None = opt.option(None, "The same after the softmax; rows sum to 1.")
    top_k: str | None = opt.option(None, "The k most probable: class_1, p_1, class_2, p_2 …")
    answers: str | None = opt.option(None, "Columns prediction, confidences, usd_per_request …")
    log: str | None = opt.option(None, "Decision log, FILE or FOLDER; --labels has key, label.")
    labels: str | None = opt.option(None, "N labels, same formats. [default: the cache's own]")
    unlabelled: bool = opt.option(False, "Outputs without labels; those in the files are left out.")
    logits_column: str | None = opt.option(
        None, "Array of an npz, column of lists, or how the classes' columns begin."
    )
    label_column: str | None = opt.option(
        None, "Array or column of the labels, without --labels of --logits."
    )
    labels_for: str | None = opt.option(
        None, "FILE is labels for this plan of `cascade certify`, and nothing else is meant."
    )
    labels_from: int | None = opt.option(
        None, "The first label, 0 or 1. [default: told by the labels]", min=0, max=1
    )
    class_names: str | None = opt.option(
        None, "Text file, a class a line; labels may be these words."
    )
    trained_on: str | None = opt.option(None, "Splits the model was trained on. [default: train]")
    macs: str | None = opt.option(None, "Multiply-adds per image, where known: 3e6, 1M.")
    costs: str | None = opt.option(None, "CSV: model and macs, or as `import-costs` takes.")
    overwrite: bool = opt.option(False, "Replace what has this name.")
    dry_run: bool = opt.option(False, "Say what would be brought in, and what is odd of it.")


@opt.grouped("outputs given cache as_json")
def import_outputs(
    context: typer.Context,
    given: ImportOptions,
    common: opt.CommonOptions,
    outputs: Annotated[
        str | None, typer.Argument(metavar="[TABLE|FOLDER]", help="Outputs; their kind is told.")
    ] = None,
) -> None:
    """Bring in logits, probabilities, top classes or answers that something else computed.

    Of one model, or of all that a table, npz or folder holds. Columns class_1, p_1 … are the most
    probable classes, prediction and other numbers are answers, rows that sum to 1 are
    probabilities, other numbers logits; a flag says it instead. --log is what a deployed cascade
    wrote down, of which requests drawn by chance become the split.

    \b
    cascade import all.parquet --dataset mine --split test
    cascade import --dataset mine --split test --model big --logits big.npy --labels labels.npy
    cascade import --dataset mine --split live --log log --labels labels.csv
    cascade import --labels-for certify certify/to-label.csv
    cascade import --dataset mine --split new --unlabelled new.parquet
    """
    store = Store(common.cache)
    if given.labels_for is not None:
        _labels(context, store, given.labels_for, outputs, common.as_json)
        return
    if given.dataset is None:
        raise InputError("of which dataset? give --dataset (-d) NAME")
    kind, file = _outputs(given, outputs)
    if given.unlabelled and given.labels is not None:
        raise InputError(
            "--labels gives the labels that --unlabelled says nobody knows: leave out one"
        )
    priced, macs = ([], {}) if given.costs is None else costs.read_costs(given.costs)
    told = {
        "kind": kind,
        "file": file,
        "trained_on": tuple(names_in(given.trained_on) or ("train",)),
        "trained_on_source": "stated" if given.trained_on else "assumed",
        "macs": None if given.macs is None else parse_macs(given.macs),
    }
    known = {field.name for field in fields(ingest.ImportRequest)}
    said = {name: value for name, value in vars(given).items() if name in known}
    named = {"split": given.split or "", "model": given.model or ""}
    request = ingest.ImportRequest(**(said | told | named))
    bring = ingest.import_log if kind == _LOG else ingest.import_many
    rows = bring(store, request, given.split, say, given.dry_run, macs)
    if priced and not given.dry_run:
        bring_costs(store, given.dataset, priced)
    if common.as_json:
        print_json({"dataset": given.dataset, "models": rows})
        return
    more = ("kind", "classes", "macs") if given.dry_run else ()
    shown = ("model", "split", *more, "rows", "accuracy")
    print_table(rows, {key: _COLUMNS[key] for key in shown})


def _labels(
    context: typer.Context, store: Store, plan: str, file: str | None, as_json: bool
) -> None:
    """Bring in labels that a plan asks for."""
    if file is None:
        raise InputError("which labels? give the file that holds them: --labels-for PLAN FILE")
    others = (each.name for each in fields(ImportOptions) if each.name != "labels_for")
    refuse(context, others, "is of outputs, and --labels-for brings labels: leave it out")
    found = bring_labels(store, plan, file)
    if as_json:
        print_json(found)
        return
    print(f"{found['new']} labels are new, {found['labels']} are there: `cascade certify` goes on")


def _outputs(given: ImportOptions, told: str | None) -> tuple[str, str]:
    """(what kind of outputs, "" where their file tells; their file)."""
    named = {kind: getattr(given, kind) for kind in (*OUTPUTS, _LOG)} | {"": told}
    found = [(kind, file) for kind, file in named.items() if file is not None]
    if len(found) != 1:
        flags = " or ".join(f"--{kind.replace('_', '-')} FILE" for kind in (*OUTPUTS, _LOG))
        raise InputError(f"give TABLE|FOLDER or {flags}{', one of them' if found else ''}")
    return found[0]
