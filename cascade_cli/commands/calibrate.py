"""`calibrate`: is each model as sure as it is right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.fit import fit_plan
from cascade_cli.inputs.scores import reported_scores
from cascade_cli.inputs.words import names_in
from cascade_cli.show.files import check_table, write_rows
from cascade_cli.show.fit import fit_facts
from cascade_cli.show.text import print_json, print_table, say
from stages import calibration as stage, report

COLUMNS = {
    "model": "model",
    "temperature": "temperature:.4f",
    "accuracy": "top-1:.2%",
    "nll_before": "NLL:.4f",
    "nll_after": "after:.4f",
    "ece_before": "ECE:.2%",
    "ece_after": "after:.2%",
    "aurc_before": "AURC:.5f",
    "aurc_after": "after:.5f",
    "augrc_before": "AUGRC:.5f",
    "augrc_after": "after:.5f",
}


@dataclass(frozen=True)
class BinsOptions(opt.OutputOptions):
    """The file of the diagrams' bins."""

    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Reliability diagrams' bins: a .csv or .parquet file."),
    ] = None


@opt.grouped(
    "dataset data models split fit_split weights runtime output for_spreadsheets figures cache "
    "as_json"
)
def calibrate(
    wanted: opt.LogitsOptions,
    output: BinsOptions,
    common: opt.CommonOptions,
    models: opt.Models = None,
    figures: Annotated[
        str | None, typer.Option("--figures", help="Folder for the diagrams as PNG and SVG.")
    ] = None,
) -> None:
    """Fit each model's temperature, and tell how sure it is before and after.

    \b
    cascade calibrate -d digits --output reliability.csv
    """
    check_table(output)
    store = Store(common.cache)
    reported = reported_scores(store, wanted, names_in(models))
    fitted = fit_plan(store, reported, wanted)
    for note in fitted.notes:
        say(note.replace("λ is", "the temperature is"))
    rows, bins = stage.calibrate_models(store, reported, fitted)
    write_rows(bins, output)
    files = [] if figures is None else _drawn(rows, bins, figures)
    if common.as_json:
        more = {"figures": files, "models": rows, "reliability": bins}
        print_json(fit_facts(reported, fitted) | more)
        return
    print_table(rows, COLUMNS)
    print(
        f"temperature fitted on {fitted.split} ({rows[0].fit_n} images, {fitted.method}), the "
        f"rest is of {reported.split} ({rows[0].n} images)"
    )
    for file in files:
        print(f"wrote {file}")


def _drawn(
    rows: Sequence[stage.ModelCalibration], bins: Sequence[stage.ReliabilityBin], folder: str
) -> list[str]:
    drawn = report.reliability_figures(rows, bins)
    return [str(file) for file in report.save_figures(drawn, folder)]
