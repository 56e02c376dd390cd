"""`heterogeneity`: which models cover whose mistakes."""

from __future__ import annotations

from dataclasses import replace

import typer

from cache import Store, one_of
from cascade_cli import options as opt
from cascade_cli.inputs.fit import fit_plan
from cascade_cli.inputs.flags import or_train, refuse
from cascade_cli.inputs.scores import enough_models, reported_scores
from cascade_cli.inputs.words import names_in
from cascade_cli.show.files import check_table, write_rows
from cascade_cli.show.fit import fit_facts
from cascade_cli.show.text import print_json, print_table, print_text, say
from stages import heterogeneity as stage
from stages.heterogeneity import predict_gains
from stages.scores import ScoreSet
from stages.threshold import FitPlan

PREDICTOR_COLUMNS = {
    "metric": "metric",
    "spearman_ordered": "ρ ordered:+.2f",
    "kendall_ordered": "τ ordered:+.2f",
    "spearman_unordered": "ρ unordered:+.2f",
    "kendall_unordered": "τ unordered:+.2f",
    "picked": "picks",
    "picked_gain": "whose gain is:+.2%",
    "best_gain": "of at best:+.2%",
}


@opt.grouped(
    "dataset data metric models predict split fit_split halves stratified train weights runtime "
    "output for_spreadsheets cache as_json",
    fit_split="With --predict: split that measures, and fits λ.",
)
def heterogeneity(
    context: typer.Context,
    wanted: opt.LogitsOptions,
    common: opt.CommonOptions,
    metric: str = opt.option(
        "heterogeneity",
        "heterogeneity, complementarity, oracle_accuracy, double_fault, gain, disagreement, "
        "q_statistic, error_correlation or kappa.",
    ),
    predict: bool = opt.option(False, "How well each metric finds the pairs that gain most."),
) -> None:
    """Which models cover whose mistakes: one number for every pair.

    \b
    cascade heterogeneity -d digits --output heterogeneity.csv
    cascade heterogeneity -d digits --predict
    """
    check_table(common)
    if predict:
        refuse(context, ("metric",), "is for one of them, and --predict ranks all: leave out one")
    else:
        why = "fits the λ of cascades: give --predict too, or leave it out"
        refuse(context, ("fit_split", "halves"), why)
        wanted = replace(wanted, halves=None)
    if metric not in stage.METRICS:
        raise one_of("metric", metric, stage.METRICS)
    store = Store(common.cache)
    split = or_train(context, "split", wanted.split, wanted.train)
    scores = reported_scores(store, replace(wanted, split=split), names_in(wanted.models))
    if predict:
        fitted = fit_plan(store, scores, wanted)
        _predicted(store, scores, fitted, common)
        return
    matrix = stage.run(store, scores, metric)
    rows = [
        {"model": model} | dict(zip(scores.models, map(stage.or_none, line), strict=True))
        for model, line in zip(scores.models, matrix, strict=True)
    ]
    write_rows(rows, common)
    if common.as_json:
        head = {"dataset": scores.dataset, "split": scores.split, "metric": metric}
        print_json(head | {"models": list(scores.models), "matrix": matrix.tolist()})
        return
    print_table(rows, {"model": metric} | {model: f"{model}:.4f" for model in scores.models})


def _predicted(
    store: Store, reported: ScoreSet, fitted: FitPlan, common: opt.CommonOptions
) -> None:
    enough_models(store, reported.models[1:], reported)
    rows, gains = predict_gains(store, reported, fitted)
    say(*fitted.notes)
    write_rows(rows, common)
    if common.as_json:
        print_json(fit_facts(reported, fitted) | {"predictors": rows, "gains": gains})
        return
    print_table([row.columns() | {"picked": row.picked} for row in rows], PREDICTOR_COLUMNS)
    print_text(_asked(reported, fitted, rows[0].pairs))


def _asked(reported: ScoreSet, fitted: FitPlan, pairs: int) -> str:
    """What the ranks of metrics answer, and which images tell."""
    told = (
        f"Does a metric, measured on {fitted.split}, tell which pairs gain on {reported.split}? "
        f"1 = perfectly, 0 = not at all: Spearman's ρ and Kendall's τ over {pairs} ordered pairs, "
        "and unordered in their better direction. `picks` is the pair that it would choose; a gain "
        "is that of the pair's best cascade over the better of its models, both chosen on "
    )
    how = f"{fitted.split} ({fitted.method})."
    if fitted.method == "cross-fit":
        how = f"four folds of {fitted.split} and told of the fifth, ten times over."
    return told + how
