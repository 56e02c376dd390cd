"""`calibrate`: is each model as sure as it is right?"""

from __future__ import annotations

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


@opt.grouped(
    "dataset data models split fit_split halves stratified weights runtime output for_spreadsheets "
    "figures cache as_json",
    output="Reliability diagrams' bins: a .csv or .parquet file.",
)
def calibrate(
    wanted: opt.LogitsOptions,
    common: opt.CommonOptions,
    figures: str | None = opt.option(None, "Folder for the diagrams as PNG and SVG."),
) -> None:
    """Fit each model's temperature, and tell how sure it is before and after.

    \b
    cascade calibrate -d digits --output reliability.csv
    """
    check_table(common)
    store = Store(common.cache)
    reported = reported_scores(store, wanted, names_in(wanted.models))
    fitted = fit_plan(store, reported, wanted)
    for note in fitted.notes:
        say(note.replace("λ is", "the temperature is").replace("fit λ", "fit the temperature"))
    rows, bins = stage.calibrate_models(store, reported, fitted)
    write_rows(bins, common)
    files: list[str] = []
    if figures is not None:
        drawn = report.reliability_figures(rows, bins)
        files = [str(file) for file in report.save_figures(drawn, figures)]
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
