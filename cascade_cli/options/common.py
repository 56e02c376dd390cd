"""Options of every command, and what several groups share."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from cascade_cli.options.groups import option
from stages.scores import FUNCTIONS, LABEL_FREE

MOST = 2**31 - 1  # of counts, as the cache's tables hold them
SCORE_NAMES = ", ".join((*LABEL_FREE, *FUNCTIONS))


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


@dataclass(frozen=True)
class OutputOptions:
    """The file that a table goes to, beside the terminal."""

    output: str | None = option(None, "Also write to this .csv or .parquet file.", "-o")
    for_spreadsheets: bool = option(
        False, "In a .csv, put ' before texts that a spreadsheet would take for formulas."
    )


@dataclass(frozen=True)
class CommonOptions(OutputOptions):
    """The same, which cache, and whether JSON is printed."""

    cache: str | None = option(
        None, "Cache: a folder or URI. [default: $CASCADE_CACHE or artifacts]"
    )
    as_json: bool = option(False, "Print one JSON object on stdout.", "--json")
