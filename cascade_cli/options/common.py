"""Options that several commands share, spelt once; the original scripts' flags keep working."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from stages.scores import FUNCTIONS, LABEL_FREE

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
CACHED = "Dataset. [default: that of the models, else the cache's only one]"
# Where -d means something else.
DatasetLong = Annotated[str | None, typer.Option("--dataset", help=CACHED)]
Data = Annotated[
    str | None,
    typer.Option("-f", "--filepath", "--data", help="Folder that holds the images."),
]
Split = Annotated[str | None, typer.Option("--split", help="Split to report. [default: test]")]
Splits = Annotated[
    str | None,
    typer.Option("--split", help="Splits separated by commas. [default: all but train]"),
]
Models = Annotated[
    str | None, typer.Option("--models", help="Names separated by commas. [default: all]")
]
Runtime = Annotated[
    str | None,
    typer.Option("--runtime", help="Which runtime's logits, where the cache has several."),
]
WeightsDir = Annotated[
    str | None,
    typer.Option("--weights", help="Folder with <model>.pt, .pth or .safetensors."),
]
Preprocess = Annotated[
    str | None,
    typer.Option("--preprocess", help="JSON of file: models. [default: beside each .pt2]"),
]
ScoreFns = Annotated[
    str, typer.Option("-s", "--scorefn", help="Scores separated by commas; a package's too.")
]
OWN_SCORES = ",".join(LABEL_FREE)
SCORE_NAMES = ", ".join((*LABEL_FREE, *FUNCTIONS))
OnePostCheck = Annotated[
    bool | None,
    typer.Option("-p/-P", "--postcheck/--no-postcheck", help="One only. [default: both]"),
]
Objectives = Annotated[
    str, typer.Option("--objective", help="best, 1se or both, separated by commas.")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1 … [default: a GPU if there]")
]
Precision = Annotated[str, typer.Option("--precision", help="fp32, tf32, bf16 or fp16.")]


@dataclass(frozen=True)
class CommonOptions:
    """Which cache, and whether JSON is printed."""

    cache: Cache = None
    as_json: Json = False


@dataclass(frozen=True)
class OutputOptions:
    """The file that a table goes to, beside the terminal."""

    output: Annotated[
        str | None, typer.Option("-o", "--output", help="Also write to this .csv or .parquet file.")
    ] = None
    for_spreadsheets: Annotated[
        bool,
        typer.Option(
            "--for-spreadsheets",
            help="In a .csv, put ' before texts that a spreadsheet would take for formulas.",
        ),
    ] = False
