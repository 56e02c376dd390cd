"""`rules`: every deferral rule on one pair, or the best pair of each, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from cache import InputError, Store, one_of
from cascade_cli import options as opt
from cascade_cli.inputs.costs import pricer_or_none
from cascade_cli.inputs.fit import fit_plan
from cascade_cli.inputs.flags import refuse
from cascade_cli.inputs.models import pair_or_all
from cascade_cli.inputs.policy import write_policy
from cascade_cli.inputs.scores import enough_models, known_scores, reported_scores
from cascade_cli.inputs.words import names_in
from cascade_cli.show.files import check_table, write_rows
from cascade_cli.show.fit import fit_facts
from cascade_cli.show.rules import show_rules
from cascade_cli.show.text import print_json, progress, say
from stages import deferral as stage
from stages.cascade import OBJECTIVES
from stages.deferral import COMMITTEES, FINALS, RULES, RulesQuestion, rule_of
from stages.scores import ScoreSet, by_name_in, with_references
from stages.simulate import FitFacts, FittedLimit
from stages.threshold import FitPlan, all_pairs


@dataclass(frozen=True)
class RuleOptions(opt.ComparedOptions):
    """When B runs, what then answers, and which points are told, separated by commas; of two
    models, of every pair, or of more models than two."""

    third: str | None = opt.option(None, "Also: A and B agree, else this model answers.")
    committee: str | None = opt.option(None, "Also: models that vote, the last answers in doubt.")
    all_pairs: bool = opt.option(False, "The best of all pairs for each rule.")
    rule: str | None = opt.option(
        None,
        f"{', '.join((*RULES, *COMMITTEES))}, or a package's score, separated by commas. "
        "[default: all but packages']",
        "--rules",
    )
    final: str | None = opt.option(
        None, "What answers once B ran: b, postcheck, ensemble. [default: all]", "--finals"
    )
    policy: str | None = opt.option(
        None, "Also write the one row asked for to this folder: see export."
    )


@opt.grouped(
    "model_1 model_2 third committee all_pairs models dataset data rule final objective split "
    "fit_split halves stratified weights runtime cost cost_device batch_size baseline policy "
    "output for_spreadsheets cache as_json",
    models="Pairs of these only, separated by commas.",
)
def rules(
    context: typer.Context,
    pair: opt.PairOptions,
    wanted: opt.LogitsOptions,
    options: RuleOptions,
    costs: opt.CostOptions,
    common: opt.CommonOptions,
) -> None:
    """Compare deferral rules: when B runs, and which answer then stands.

    \b
    cascade rules -m1 digits_wide -m2 digits_residual --third digits_plain
    """
    check_table(common)
    models = pair_or_all(pair, options.all_pairs)
    if models:
        refuse(context, ("models",), "is for all pairs: leave it out, or -m1 and -m2")
    teams = _teams(models, options.third, names_in(options.committee))
    listed = None if wanted.models is None else list(dict.fromkeys(names_in(wanted.models) or ()))
    names, store = _wanted(models, listed, teams), Store(common.cache)
    chosen, voting = _chosen(store, options)
    reported = reported_scores(store, wanted, names)
    asked = options.rule is not None
    known = known_scores(chosen["rules"], reported, asked)
    chosen["rules"] = tuple(name for name in known if name in chosen["rules"])
    chosen["voting"] = voting
    fitted = fit_plan(store, reported, wanted)
    question = _question(reported, models, listed, teams, chosen)
    enough_models(store, question.pairs, reported)
    everyone = with_references(store, reported) if names else reported
    pricer = pricer_or_none(store, everyone, reported.models, costs)
    with progress("comparing rules") as tell:
        rows, notes = stage.run(store, reported, fitted, question, pricer, tell)
    say(*fitted.notes, *notes)
    write_rows(rows, common)
    policy, refused = None, None
    if options.policy is not None:
        try:
            policy = _deployed(store, reported, fitted, rows, wanted, costs, options.policy)
        except InputError as error:  # the table is no less of one
            refused = error
    if common.as_json:
        head = fit_facts(reported, fitted) | ({} if policy is None else {"policy": policy})
        print_json(head | {"notes": [*fitted.notes, *notes], "rows": rows})
    else:
        show_rules(reported, fitted, rows)
        for path in () if policy is None else policy["files"]:
            print(path)
    if refused is not None:
        raise refused


def _deployed(
    store: Store,
    reported: ScoreSet,
    fitted: FitPlan,
    rows: Sequence[stage.RuleRow],
    wanted: opt.LogitsOptions,
    costs: opt.CostOptions,
    folder: str,
) -> Mapping[str, Any]:
    """Write the row as a policy; InputError where there are several, or it cannot be one."""
    if len(rows) != 1:
        raise InputError(
            f"--policy writes one cascade, and {len(rows)} rows are here: ask for one with "
            "--rules, --finals and --objective"
        )
    [row] = rows
    facts = FitFacts(
        fit_split=row.fit_split,
        fit_method=row.fit_method,
        fit_n=row.fit_n,
        objective=row.objective,
        fit_accuracy=row.fit_accuracy,
        fit_usage=row.fit_usage,
    )
    decided = (
        stage.deployed(store, reported, fitted, row),
        FittedLimit.told(facts, row.accuracy, row.against),
    )
    return write_policy(store, reported, decided, opt.MemoryOptions(), wanted, costs, folder)


def _teams(
    pair: tuple[str, str] | None, third: str | None, committee: Sequence[str] | None
) -> list[tuple[str, ...]]:
    """Committees asked for, each with the model that answers for it last."""
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
    store: Store, options: RuleOptions
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The names by the stage's words, and which rules of committees; InputError for one that it
    does not know."""
    given = {"rules": options.rule, "finals": options.final, "objectives": options.objective}
    known = {"rules": RULES, "finals": FINALS, "objectives": OBJECTIVES}
    out = {key: tuple(names_in(text) or known[key]) for key, text in given.items()}
    voting = tuple(name for name in COMMITTEES if name in out["rules"]) or COMMITTEES
    out["rules"] = tuple(name for name in out["rules"] if name not in COMMITTEES)
    for name in out["rules"]:
        by_name_in(store, name, rule_of)
    for key in ("finals", "objectives"):
        for name in out[key]:
            if name not in known[key]:
                raise one_of(key.removesuffix("s"), name, known[key])
    return out, voting


def _question(
    reported: ScoreSet,
    pair: tuple[str, str] | None,
    models: Sequence[str] | None,
    teams: Sequence[tuple[str, ...]],
    chosen: dict[str, tuple[str, ...]],
) -> RulesQuestion:
    index = {name: m for m, name in enumerate(reported.models)}
    missing = [name for team in teams for name in team if name not in index]
    if missing:
        raise one_of("model", missing[0], reported.models)
    return RulesQuestion(
        pairs=[(0, 1)] if pair else all_pairs(reported.models[: len(models or reported.models)]),
        committees=[tuple(index[name] for name in team) for team in teams],
        trios=pair is None,
        **chosen,
    )
