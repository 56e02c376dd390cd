"""`rules`: every deferral rule on one pair, or the best pair of each, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli import prices
from cascade_cli.output import (
    print_json,
    print_table,
    print_text,
    progress,
    say,
    table_file,
    write_rows,
)

if TYPE_CHECKING:
    from cache import Store
    from stages.fitting import FitPlan
    from stages.rules import Question
    from stages.score import ScoreSet

COLUMNS = {
    "cascade": "cascade",
    "rule": "rule",
    "final": "final answer",
    "objective": "point",
    "threshold": "λ:.6g",
    "shown_accuracy": "accuracy",
    "usage": "use of last:.1%",
    "shown_gain": "gain over maxp",
}
COST_COLUMNS = {"cost": "cost", "saved": "compared"}


def register(app: typer.Typer) -> None:
    told = "Compare deferral rules: when B runs, whose answer counts."
    app.command("rules", short_help=told)(rules)


def rules(
    context: typer.Context,
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    third: Annotated[
        str | None, typer.Option("--third", help="Also: A and B agree, else this model answers.")
    ] = None,
    committee: Annotated[
        str | None,
        typer.Option("--committee", help="Also: models that vote, the last answers in doubt."),
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="The best of all pairs for each rule.")
    ] = False,
    models: Annotated[
        str | None, typer.Option("--models", help="Pairs of these only, separated by commas.")
    ] = None,
    dataset: opt.CachedDataset = None,
    data: opt.Data = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rules",
            help="maxp, difference, entropy, margin, energy, maxp_t, difference_t, entropy_t, "
            "learned, or a package's score, separated by commas. [default: all but packages']",
        ),
    ] = None,
    final: Annotated[
        str | None,
        typer.Option(
            "--finals", help="What answers once B ran: b, postcheck, ensemble. [default: all]"
        ),
    ] = None,
    objective: Annotated[
        str, typer.Option("--objective", help="best, 1se or both, separated by commas.")
    ] = "best,1se",
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
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
    """Compare deferral rules: when B runs, and which answer then stands.

    \b
    cascade rules -m1 digits_wide -m2 digits_residual --third digits_plain
    """
    from cache import Store
    from cascade_cli import asking, gather
    from stages import rules as stage

    table = table_file(output, for_spreadsheets)
    pair = asking.pair(model_1, model_2, all_pairs)
    if pair:
        asking.refuse(context, ("models",), "is for all pairs: leave it out, or -m1 and -m2")
    teams = _teams(pair, third, asking.names(committee))
    listed = None if models is None else list(dict.fromkeys(asking.names(models) or ()))
    wanted = _wanted(pair, listed, teams)
    store, images = Store(cache), gather.Images(data, weights)
    chosen = _chosen(store, rule, final, objective)
    reported = gather.reported(store, dataset, split, wanted, images, runtime)
    fitted = gather.fit_plan(store, reported, fit_split, images, runtime)
    question = _question(reported, pair, listed, teams, chosen)
    gather.enough_models(store, question.pairs, reported)
    asked = prices.Asked(cost, cost_device, batch_size, baseline)
    everyone = prices.with_references(store, reported) if wanted else reported
    pricer = prices.pricer(store, everyone, reported.models, asked)
    with progress("comparing rules") as tell:
        rows, notes = stage.run(store, reported, fitted, question, pricer, tell)
    for note in (*fitted.notes, *notes):
        say(note)
    write_rows(rows, table)
    if as_json:
        print_json(_about(reported, fitted, notes) | {"rows": rows})
        return
    _show(reported, fitted, rows)


def _teams(
    pair: tuple[str, str] | None, third: str | None, committee: Sequence[str] | None
) -> list[tuple[str, ...]]:
    """Committees asked for, each with the model that answers for it last."""
    from cache import InputError

    if third is not None and pair is None:
        raise InputError("--third stands behind two models: give -m1 A and -m2 B")
    if committee is not None and len(committee) < 3:
        raise InputError("--committee needs three models: two that vote and one that answers last")
    teams: list[tuple[str, ...]] = [(*pair, third)] if pair and third else []
    teams += [tuple(committee)] if committee else []
    for team in teams:
        if len(set(team)) < len(team):
            raise InputError(f"{','.join(team)} names a model twice: each votes once")
    return teams


def _wanted(
    pair: tuple[str, str] | None, models: Sequence[str] | None, teams: Sequence[tuple[str, ...]]
) -> list[str] | None:
    """The models in play, None for all there are."""
    chosen = pair or models
    if chosen is None:
        return None
    return list(dict.fromkeys([*chosen, *(name for team in teams for name in team)]))


def _chosen(
    store: Store, rule: str | None, final: str | None, objective: str
) -> dict[str, tuple[str, ...]]:
    from cache.errors import one_of
    from cascade_cli import asking
    from stages.cascade import OBJECTIVES
    from stages.deferral import FINALS, RULES, rule_of
    from stages.extra_scores import by_name_in

    given = {"rules": rule, "finals": final, "objectives": objective}
    known = {"rules": RULES, "finals": FINALS, "objectives": OBJECTIVES}
    out = {key: tuple(asking.names(text) or known[key]) for key, text in given.items()}
    for name in out["rules"]:
        by_name_in(store, name, rule_of)
    for key in ("finals", "objectives"):
        for name in out[key]:
            if name not in known[key]:
                raise one_of(key.removesuffix("s"), name, known[key])
    return out


def _question(
    reported: ScoreSet,
    pair: tuple[str, str] | None,
    models: Sequence[str] | None,
    teams: Sequence[tuple[str, ...]],
    chosen: dict[str, tuple[str, ...]],
) -> Question:
    from stages.rules import Question
    from stages.threshold import all_pairs

    index = {name: m for m, name in enumerate(reported.models)}
    missing = [name for team in teams for name in team if name not in index]
    if missing:
        from cache.errors import one_of

        raise one_of("model", missing[0], reported.models)
    return Question(
        pairs=[(0, 1)] if pair else all_pairs(reported.models[: len(models or reported.models)]),
        committees=[tuple(index[name] for name in team) for team in teams],
        trios=pair is None,
        **chosen,
    )


def _about(reported: ScoreSet, fitted: FitPlan, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "dataset": reported.dataset,
        "split": reported.split,
        "fit_split": fitted.split,
        "fit_method": fitted.method,
        "notes": [*fitted.notes, *notes],
    }


def _show(reported: ScoreSet, fitted: FitPlan, rows: Sequence[dict[str, Any]]) -> None:
    costs = COST_COLUMNS if any(row["cost"] is not None for row in rows) else {}
    costs = costs and costs | prices.against(rows)
    print_table([_shown(row) for row in rows], COLUMNS | costs)
    print_text(decided_by(reported, fitted))
    candidates = max(row["candidates"] for row in rows)
    if candidates > 1:
        print(f"each the best of up to {candidates} cascades by its accuracy on {fitted.split}")
    if costs:
        prices.explain(rows, "compared with")
    print_text(better(rows))


def decided_by(reported: ScoreSet, fitted: FitPlan) -> str:
    """Which images fitted λ, and which tell how accurate it is."""
    from stages.fitting import FOLDS, REPEATS

    images = f"{fitted.split} ({len(fitted.scores.labels)} images, {fitted.method})"
    if fitted.method == "cross-fit":
        told = (
            "accuracy and gain are those of images that had no part in the choice: "
            f"{REPEATS} × {FOLDS} folds of {images}, each decided by what the others choose; λ, "
            "use and costs are those of the choice on all"
        )
    else:
        told = f"λ fitted on {images}, reported on {reported.split} ({len(reported.labels)} images)"
    return f"{told}; intervals of 95 %, the gain paired, in points, over plain maxp answered by B"


def better(rows: Sequence[dict[str, Any]]) -> str:
    """Which rows surely beat plain maxp, of how many others."""
    others = [row for row in rows if (row["rule"], row["final"]) != ("maxp", "b")]
    sure = [row for row in others if row["gain_low"] > 0]
    if not others:
        return "only plain maxp is here: nothing is compared with it"
    compared = f"of {len(others)} row{'s' * (len(others) > 1)} compared with plain maxp"
    if not sure:
        return f"{compared} none is surely more accurate: no interval of a gain lies above 0"
    told = "; ".join(
        f"{row['rule']} with {row['final']}, {row['objective'] or 'its one point'}, of "
        f"{_cascade(row)}"
        for row in sure
    )
    verb = "is" if len(sure) == 1 else "are"
    return (
        f"{compared} {len(sure)} {verb} surely more accurate, where about one in forty would be by "
        f"chance: {told}"
    )


def _cascade(row: dict[str, Any]) -> str:
    return f"{row['model_1'].replace(',', ' + ')} → {row['model_2']}"


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """What the table shows, with intervals."""
    from stages.amounts import relative

    low, high = (f"{100 * row[f'accuracy_{end}']:.2f}" for end in ("low", "high"))
    least, most = (f"{100 * row[f'gain_{end}']:+.2f}" for end in ("low", "high"))
    return prices.told(row) | {
        "cascade": _cascade(row),
        "shown_accuracy": f"{row['accuracy']:.2%} ({low} to {high})",
        "shown_gain": f"{100 * row['gain']:+.2f} ({least} to {most})",
        "saved": row["saved"] is not None and relative(row["saved"]),
    }
