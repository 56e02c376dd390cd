"""Options that several commands share, spelt once; the original scripts' flags keep working."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

MOST = 2**31 - 1  # of counts, as the cache's tables hold them


def no_share(value: float) -> str | None:
    """What is wrong with a share of 1, and what to give instead; None where it is one."""
    if 0 <= value <= 1:
        return None
    if 1 < value <= 100:
        share = float(f"{value / 100:.12g}")
        return f"{value:.12g} is more than 1: give {share:.12g} for {value:.12g} %"
    return f"{value:g} is no share: give a number from 0 to 1"


def share(value: float | None) -> float | None:
    """A callback for options that are shares of 1."""
    if value is not None and (wrong := no_share(value)):
        raise typer.BadParameter(wrong)
    return value


Cache = Annotated[
    str | None,
    typer.Option("--cache", help="Cache: a folder or URI. [default: $CASCADE_CACHE or artifacts]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Dataset = Annotated[
    str | None,
    typer.Option("-d", "--dataset", help="Dataset. [default: that of the first model, digits]"),
]
_CACHED = "Dataset. [default: that of the models, else the cache's only one]"
CachedDataset = Annotated[str | None, typer.Option("-d", "--dataset", help=_CACHED)]
# Where -d means something else.
DatasetLong = Annotated[str | None, typer.Option("--dataset", help=_CACHED)]
Data = Annotated[
    str | None,
    typer.Option("-f", "--filepath", "--data", help="Folder that holds the images."),
]
Split = Annotated[str | None, typer.Option("--split", help="Split to report. [default: test]")]
Runtime = Annotated[
    str | None,
    typer.Option("--runtime", help="Which runtime's logits, where the cache has several."),
]
Model1 = Annotated[str | None, typer.Option("-m1", "--model1", help="First model, A.")]
Model2 = Annotated[str | None, typer.Option("-m2", "--model2", help="Second model, B.")]
Weights1 = Annotated[str | None, typer.Option("-w1", "--weights1", help="Weights file of A.")]
Weights2 = Annotated[str | None, typer.Option("-w2", "--weights2", help="Weights file of B.")]
WeightsDir = Annotated[
    str | None,
    typer.Option("--weights", help="Folder with <model>.pt, .pth or .safetensors."),
]
Preprocess = Annotated[
    str | None,
    typer.Option("--preprocess", help="JSON of file: models. [default: beside each .pt2]"),
]
ScoreFn = Annotated[
    str,
    typer.Option(
        "-s", "--scorefn", help="Score: maxp, difference, entropy, oracle or a package's."
    ),
]
ScoreFns = Annotated[
    str, typer.Option("-s", "--scorefn", help="Scores separated by commas; a package's too.")
]
OWN_SCORES = "maxp,difference,entropy"
Threshold = Annotated[
    str | None,
    typer.Option("-t", "--threshold", help="λ in [0, 1], always or never. [default: fitted]"),
]
PostCheck = Annotated[
    bool, typer.Option("-p", "--postcheck", help="Take B's answer only where B is surer than A.")
]
OnePostCheck = Annotated[
    bool | None,
    typer.Option("-p/-P", "--postcheck/--no-postcheck", help="One only. [default: both]"),
]
FitSplit = Annotated[
    str | None,
    typer.Option(
        "--fit-split",
        help="Split that fits λ. [default: one that no model was trained on, else cross-fitted]",
    ),
]
Objective = Annotated[
    str, typer.Option("--objective", help="Which fitted λ: best, or 1se (cheapest near it).")
]
Objectives = Annotated[
    str, typer.Option("--objective", help="best, 1se or both, separated by commas.")
]
Train = Annotated[
    bool, typer.Option("-t", "--train", help="Fit on the training split, as the original.")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1 … [default: a GPU if there]")
]
Precision = Annotated[str, typer.Option("--precision", help="fp32, tf32, bf16 or fp16.")]
Decoder = Annotated[str, typer.Option("--decoder", help="What decodes images: pil or torchcodec.")]
Output = Annotated[
    str | None, typer.Option("-o", "--output", help="Also write to this .csv or .parquet file.")
]
ForSpreadsheets = Annotated[
    bool,
    typer.Option(
        "--for-spreadsheets",
        help="In a .csv, put ' before texts that a spreadsheet would take for formulas.",
    ),
]


@dataclass(frozen=True)
class CommonOptions:
    """Which cache, and whether JSON is printed."""

    cache: Cache = None
    as_json: Json = False


@dataclass(frozen=True)
class OutputOptions:
    """The file that a table goes to, beside the terminal."""

    output: Output = None
    for_spreadsheets: ForSpreadsheets = False
