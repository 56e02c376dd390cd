"""`calibrate`: is each model as sure as it is right?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli.output import print_json, print_table, say, table_file, write_rows

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


def register(app: typer.Typer) -> None:
    told = "Fit each model's temperature; say how well calibrated it is."
    app.command("calibrate", short_help=told)(calibrate)


def calibrate(
    dataset: opt.CachedDataset = None,
    data: opt.Data = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Names separated by commas. [default: all]")
    ] = None,
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    weights: opt.WeightsDir = None,
    runtime: opt.Runtime = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Reliability diagrams' bins: a .csv or .parquet file."),
    ] = None,
    for_spreadsheets: opt.ForSpreadsheets = False,
    figures: Annotated[
        str | None, typer.Option("--figures", help="Folder for the diagrams as PNG and SVG.")
    ] = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Fit each model's temperature, and tell how sure it is before and after.

    \b
    cascade calibrate -d digits --output reliability.csv
    """
    from cache import Store
    from cascade_cli import asking, gather
    from stages import calibrate as stage

    table = table_file(output, for_spreadsheets)
    store, images = Store(cache), gather.Images(data, weights)
    reported = gather.reported(store, dataset, split, asking.names(models), images, runtime)
    fitted = gather.fit_plan(store, reported, fit_split, images, runtime)
    for note in fitted.notes:
        say(note.replace("λ is", "the temperature is"))
    rows, bins = stage.run(store, reported, fitted)
    write_rows(bins, table)
    files = [] if figures is None else _drawn(rows, bins, figures)
    if as_json:
        head = {"dataset": reported.dataset, "split": reported.split, "fit_split": fitted.split}
        head |= {"fit_method": fitted.method}
        more = {"notes": list(fitted.notes), "figures": files}
        print_json(head | more | {"models": rows, "reliability": bins})
        return
    print_table(rows, COLUMNS)
    print(
        f"temperature fitted on {fitted.split} ({rows[0]['fit_n']} images, {fitted.method}), the "
        f"rest is of {reported.split} ({rows[0]['n']} images)"
    )
    for file in files:
        print(f"wrote {file}")


def _drawn(rows: list[dict[str, Any]], bins: list[dict[str, Any]], folder: str) -> list[str]:
    from pathlib import Path

    from stages.report import reliability, save_figures

    temperatures = {row["model"]: row["temperature"] for row in rows}
    return [
        str(file) for file in save_figures(reliability.figures(bins, temperatures), Path(folder))
    ]
