"""`score`, `threshold`, `heterogeneity`: what is computed from the cache alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli import prices
from cascade_cli.output import (
    TableFile,
    print_json,
    print_table,
    print_text,
    say,
    table_file,
    write_rows,
)

if TYPE_CHECKING:
    from cache import Store
    from stages.fitting import FitPlan
    from stages.score import ScoreSet
    from stages.threshold import Question

SHOWN = 20
PAIR_COLUMNS = {"model_1": "A", "model_2": "B"}
POINT_COLUMNS = {
    "rule": "score",
    "objective": "point",
    "threshold": "λ:.6g",
    "accuracy": "accuracy:.2%",
    "usage": "use of B:.1%",
}
COST_COLUMNS = {"cost": "cost", "saved": "compared", "points": "points"}
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


def register(app: typer.Typer) -> None:
    app.command("score", short_help="Turn logits into answers and scores.")(score)
    app.command("threshold", short_help="Fit λ exactly for one pair or all.")(threshold)
    told = "Which models cover whose mistakes."
    app.command("heterogeneity", short_help=told)(heterogeneity)


def score(
    dataset: opt.CachedDataset = None,
    data: opt.Data = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Splits separated by commas. [default: all]")
    ] = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Names separated by commas. [default: all]")
    ] = None,
    scorefn: Annotated[
        str | None,
        typer.Option("-s", "--scorefn", help="Also make these scores of packages, by commas."),
    ] = None,
    weights: opt.WeightsDir = None,
    runtime: opt.Runtime = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Turn logits into answers and scores (maxp, difference, entropy) per image.

    \b
    cascade score -d digits
    """
    from cache import Store
    from cascade_cli import asking, gather
    from stages import score as stage

    store, images = Store(cache), gather.Images(data, weights)
    wanted, extra = asking.names(models), asking.package_scores(store, scorefn)
    dataset = asking.dataset_in(store, dataset, wanted or ())
    splits = gather.named_splits(dataset, split) or stage.splits_of(store, dataset)
    splits = splits or [gather.report_split(store, dataset, None)]
    for name in splits:
        gather.scores(store, dataset, name, wanted, images, runtime)
    rows = stage.run(store, dataset, splits, wanted, runtime=runtime, extra=extra)
    if as_json:
        print_json({"dataset": dataset, "models": rows})
        return
    print_table(rows, {"model": "model", "split": "split", "rows": "rows", "accuracy": "top-1:.2%"})


def threshold(
    context: typer.Context,
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Every ordered pair. [default without -m1, -m2]")
    ] = False,
    models: Annotated[
        str | None, typer.Option("--models", help="Pairs of these only, separated by commas.")
    ] = None,
    dataset: opt.CachedDataset = None,
    data: opt.Data = None,
    scorefn: opt.ScoreFns = opt.OWN_SCORES,
    postcheck: Annotated[
        bool | None,
        typer.Option("-p/-P", "--postcheck/--no-postcheck", help="One only. [default: both]"),
    ] = None,
    objective: Annotated[
        str, typer.Option("--objective", help="best, 1se or both, separated by commas.")
    ] = "best,1se",
    n_threshold_values: Annotated[
        int | None,
        typer.Option(
            "-n", "--n_threshold_values", min=2, max=10**6, help="A grid of n λ. [default: exact]"
        ),
    ] = None,
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    train: Annotated[
        bool, typer.Option("-t", "--train", help="Fit on the training split, as the original.")
    ] = False,
    weights: opt.WeightsDir = None,
    runtime: opt.Runtime = None,
    cost: prices.Cost = None,
    cost_device: prices.CostDevice = None,
    batch_size: prices.BatchSize = 1,
    baseline: prices.Baseline = None,
    output: opt.Output = None,
    for_spreadsheets: opt.ForSpreadsheets = False,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Fit λ exactly for one pair or all: the most accurate point, and the cheapest near it.

    \b
    cascade threshold -m1 digits_wide -m2 digits_residual -s maxp
    """
    from cache import Store
    from cascade_cli import asking, gather
    from stages import threshold as stage

    table = table_file(output, for_spreadsheets)
    store = Store(cache)
    question = _question(store, scorefn, postcheck, objective, n_threshold_values)
    pair = asking.pair(model_1, model_2, all_pairs)
    if pair:
        asking.refuse(context, ("models",), "is for all pairs: leave it out, or -m1 and -m2")
    wanted = list(pair) if pair else asking.names(models)
    images = gather.Images(data, weights)
    reported = gather.reported(store, dataset, split, wanted, images, runtime)
    fit_split = asking.or_train(context, "fit_split", fit_split, train)
    fitted = gather.fit_plan(store, reported, fit_split, images, runtime)
    pairs = [(0, 1)] if pair else stage.all_pairs(reported.models)
    gather.enough_models(store, pairs, reported)
    asked = prices.Asked(cost, cost_device, batch_size, baseline)
    everyone = prices.with_references(store, reported) if wanted else reported
    priced = prices.of_cascades(store, everyone, reported.models, asked)
    rows = stage.run(store, reported, fitted, pairs, question, priced)
    _show_points(reported, fitted, rows, table, as_json)


def _question(
    store: Store, scorefn: str, postcheck: bool | None, objective: str, grid: int | None
) -> Question:
    from cache.errors import one_of
    from cascade_cli import asking
    from stages.cascade import OBJECTIVES
    from stages.threshold import Question

    asked = dict.fromkeys(asking.names(scorefn) or ())
    scores = tuple(asking.checked_score(store, name) for name in asked)
    objectives = tuple(asking.names(objective) or ())
    for name in objectives:
        if name not in OBJECTIVES:
            raise one_of("objective", name, OBJECTIVES)
    checks = (False, True) if postcheck is None else (postcheck,)
    return Question(scores, checks, objectives, grid)


def _show_points(
    reported: ScoreSet,
    fitted: FitPlan,
    rows: list[dict[str, Any]],
    table: TableFile | None,
    as_json: bool,
) -> None:
    for note in fitted.notes:
        say(note)
    write_rows(rows, table)
    if as_json:
        print_json(_about(reported, fitted) | {"rows": rows})
        return
    rows = sorted(rows, key=lambda row: -row["accuracy"])
    cascades = [row for row in rows if row["threshold"] != "never"]
    several = len({(row["model_1"], row["model_2"]) for row in rows}) > 1
    rows, left = (cascades, len(rows) - len(cascades)) if several and cascades else (rows, 0)
    _print_points(rows[:SHOWN], several)
    if len(rows) > SHOWN:
        print(f"… the {SHOWN} most accurate of {len(rows)}; --json or --output FILE gives all")
    if left:
        print(f"{left} more have λ never, which is A alone: --json or --output FILE gives them")
    print_text(_decided_by(reported, fitted))
    if rows[0]["cost"] is not None:
        prices.explain(rows[:SHOWN], "compared, also in points of accuracy, with")


def _print_points(rows: list[dict[str, Any]], several: bool) -> None:
    """A pair stands above its table, which then has room for the interval of the accuracy."""
    columns = (PAIR_COLUMNS if several else {}) | POINT_COLUMNS
    if any(row["cost"] is not None for row in rows):
        columns |= COST_COLUMNS | prices.against(rows)
    elif not several:
        columns |= {"ends": "95% interval"}
    if not several:
        row = rows[0]
        alone = " and ".join(f"{row[name]:.2%}" for name in ("accuracy_1", "accuracy_2"))
        print(f"{row['model_1']} → {row['model_2']}, alone {alone}")
    print_table([_shown(row) for row in rows], columns)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    from stages.amounts import relative

    low, high = (f"{row[f'accuracy_{end}']:.2%}" for end in ("low", "high"))
    return prices.told(row) | {
        "rule": row["score"] + (" -p" if row["postcheck"] else ""),
        "ends": f"{low} to {high}",
        "saved": row["saved"] is not None and relative(row["saved"]),
        "points": f"{100 * row['accuracy_change']:+.2f}",
    }


def _decided_by(reported: ScoreSet, fitted: FitPlan) -> str:
    """Which images fitted λ, and which tell how accurate it is."""
    from cascade_cli.gather import decided_by_folds

    n = len(fitted.scores.labels)
    told = f"λ fitted on {fitted.split} ({n} images, {fitted.method})"
    if fitted.method == "cross-fit":
        return f"{told}. {decided_by_folds(n)}"
    return f"{told}, reported on {reported.split} ({len(reported.labels)} images)"


def _about(reported: ScoreSet, fitted: FitPlan) -> dict[str, Any]:
    return {
        "dataset": reported.dataset,
        "split": reported.split,
        "fit_split": fitted.split,
        "fit_method": fitted.method,
        "notes": list(fitted.notes),
    }


def heterogeneity(
    context: typer.Context,
    dataset: opt.CachedDataset = None,
    data: opt.Data = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            help="heterogeneity, complementarity, oracle_accuracy, double_fault, gain, "
            "disagreement, q_statistic, error_correlation or kappa.",
        ),
    ] = "heterogeneity",
    models: Annotated[
        str | None, typer.Option("--models", help="Names separated by commas. [default: all]")
    ] = None,
    predict: Annotated[
        bool,
        typer.Option("--predict", help="How well each metric finds the pairs that gain most."),
    ] = False,
    split: opt.Split = None,
    fit_split: Annotated[
        str | None,
        typer.Option("--fit-split", help="With --predict: split that measures, and fits λ."),
    ] = None,
    train: Annotated[
        bool, typer.Option("-t", "--train", help="On the training split, as the original.")
    ] = False,
    weights: opt.WeightsDir = None,
    runtime: opt.Runtime = None,
    output: opt.Output = None,
    for_spreadsheets: opt.ForSpreadsheets = False,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Which models cover whose mistakes: one number for every pair.

    \b
    cascade heterogeneity -d digits --output heterogeneity.csv
    cascade heterogeneity -d digits --predict
    """
    from cache import Store
    from cache.errors import one_of
    from cascade_cli import asking, gather
    from stages import heterogeneity as stage

    table = table_file(output, for_spreadsheets)
    asking.refuse(context, *(_ALL_METRICS if predict else _NO_CASCADES))
    if metric not in stage.METRICS:
        raise one_of("metric", metric, stage.METRICS)
    store = Store(cache)
    wanted = asking.names(models)
    images = gather.Images(data, weights)
    split = asking.or_train(context, "split", split, train)
    scores = gather.reported(store, dataset, split, wanted, images, runtime)
    if predict:
        fitted = gather.fit_plan(store, scores, fit_split, images, runtime)
        _predicted(store, scores, fitted, table, as_json)
        return
    matrix = stage.run(store, scores, metric)
    rows = [
        {"model": model} | dict(zip(scores.models, map(stage.or_none, line), strict=True))
        for model, line in zip(scores.models, matrix, strict=True)
    ]
    write_rows(rows, table)
    if as_json:
        head = {"dataset": scores.dataset, "split": scores.split, "metric": metric}
        print_json(head | {"models": list(scores.models), "matrix": matrix.tolist()})
        return
    print_table(rows, {"model": metric} | {model: f"{model}:.4f" for model in scores.models})


_ALL_METRICS = (("metric",), "is for one of them, and --predict ranks all: leave out one")
_NO_CASCADES = (("fit_split",), "fits the λ of cascades: give --predict too, or leave it out")


def _predicted(
    store: Store, reported: ScoreSet, fitted: FitPlan, table: TableFile | None, as_json: bool
) -> None:
    from cascade_cli import gather
    from stages import predicting

    gather.enough_models(store, reported.models[1:], reported)
    rows, gains = predicting.run(store, reported, fitted)
    for note in fitted.notes:
        say(note)
    write_rows(rows, table)
    if as_json:
        print_json(_about(reported, fitted) | {"predictors": rows, "gains": gains})
        return
    picks = [
        row | {"picked": row["picked_1"] and f"{row['picked_1']} → {row['picked_2']}"}
        for row in rows
    ]
    print_table(picks, PREDICTOR_COLUMNS)
    print_text(_asked(reported, fitted, rows[0]["pairs"]))


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
