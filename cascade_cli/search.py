"""`search`: which cascade to deploy, out of all pairs, rules and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli import policies, prices, questions
from cascade_cli.output import print_json, progress, say, table_file, write_rows
from cascade_cli.search_shown import show

if TYPE_CHECKING:
    from cache import Store
    from stages.allpairs import Rule
    from stages.guarantee import Promise
    from stages.pricing import Pricer
    from stages.questions import Question
    from stages.score import ScoreSet


def register(app: typer.Typer) -> None:
    told = "Which cascade to deploy: out of all pairs, rules and λ."
    app.command("search", short_help=told)(search)


def search(
    context: typer.Context,
    dataset: opt.CachedDataset = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Search these only, separated by commas.")
    ] = None,
    min_accuracy: questions.MinAccuracy = None,
    max_cost: questions.MaxCost = None,
    match: questions.Match = None,
    best_accuracy: questions.BestAccuracy = False,
    within: questions.Within = None,
    confidence: questions.Confidence = None,
    certify: Annotated[
        str | None,
        typer.Option(
            "--certify",
            help="MAX_LOSS,RISK: 0.03,0.1 loses at most 3 points; wrong at most 1 time in 10.",
        ),
    ] = None,
    bound: Annotated[
        str | None, typer.Option("--bound", help="Of --certify: binomial (default) or betting.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--reference", help="Of --certify: lost against this model. [default: best]"),
    ] = None,
    max_usage: Annotated[
        float | None,
        typer.Option(
            "--max-usage", callback=opt.share, help="Of --certify: also cap the use of B, 0 to 1."
        ),
    ] = None,
    stages: Annotated[
        int, typer.Option("--stages", min=2, max=3, help="3: also chains of three models.")
    ] = 2,
    optimism: Annotated[
        bool, typer.Option("--optimism", help="Search again in resamples of the fitting images.")
    ] = False,
    resamples: Annotated[
        int, typer.Option("--resamples", min=2, max=10**5, help="How many, for --optimism.")
    ] = 200,
    data: opt.Data = None,
    scorefn: opt.ScoreFns = opt.OWN_SCORES,
    postcheck: Annotated[
        bool | None,
        typer.Option("-p/-P", "--postcheck/--no-postcheck", help="One only. [default: both]"),
    ] = None,
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    weights: opt.WeightsDir = None,
    runtime: opt.Runtime = None,
    cost: prices.Cost = None,
    cost_device: prices.CostDevice = None,
    batch_size: prices.BatchSize = 1,
    baseline: prices.Baseline = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", help="Also write the answer, a pair, to this folder: see export."),
    ] = None,
    output: opt.Output = None,
    for_spreadsheets: opt.ForSpreadsheets = False,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Which cascade to deploy: out of all pairs, rules and λ, with what it saves and how sure.

    \b
    cascade search -d digits --min-accuracy 0.98
    """
    from cache import InputError, Store
    from cascade_cli import asking, gather
    from stages import search as stage
    from stages.found import Space

    table = table_file(output, for_spreadsheets)
    given = questions.given(min_accuracy, max_cost, match, best_accuracy)
    question = _question(given, certify, within, confidence)
    if certify is None:
        parts = ("bound", "reference", "max_usage")
        asking.refuse(context, parts, "belongs to --certify MAX_LOSS,RISK: give that too")
    if not optimism:
        asking.refuse(context, ("resamples",), "belongs to --optimism: give that too")
    elif question.tested:
        raise InputError(
            "an answer that other images test has no optimism: leave out --optimism, or ask for "
            "--best-accuracy, --min-accuracy or --max-cost"
        )
    _one_by_one(certify, stages, optimism, batch_size)
    promise = _promise(certify, bound, reference, max_usage)
    store, wanted = Store(cache), asking.names(models)
    space = Space(_table(store, scorefn, postcheck), stages)
    images = gather.Images(data, weights)
    reported = gather.reported(store, dataset, split, wanted, images, runtime)
    gather.enough_models(store, reported.models[1:], reported)
    fitted = gather.fit_plan(store, reported, fit_split, images, runtime)
    asked = prices.Asked(cost, cost_device, batch_size, baseline)
    pricer = _pricer(store, reported, asked)
    limit = questions.limit(max_cost, pricer)
    if promise is not None:
        promise = replace(promise, limits=replace(promise.limits, cost=limit))
    question = questions.bounded(question, limit, reported.models)
    with progress("searching again on folds") as tell:
        asking_for = stage.Search.of(reported, fitted, pricer, space, question, tell)
        for note in asking_for.plan.notes:
            say(note)
        found = stage.run(store, asking_for, resamples if optimism else None, promise)
    refused = None
    if policy is not None:
        try:
            how = policies.How(images, runtime, costs=asked)
            found["policy"] = _deployed(store, found, asking_for.reported, how, policy)
        except InputError as error:
            refused = error  # the answer is no less of one
    write_rows(stage.rows_of(found), table)
    if as_json:
        print_json(found)
    else:
        show(found)
        for path in found.get("policy", {}).get("files", ()):
            print(path)
    if refused is not None:
        raise refused


def _deployed(
    store: Store, found: dict[str, Any], reported: ScoreSet, how: policies.How, folder: str
) -> dict[str, Any]:
    """The answer as `export --policy` would write it, fitted as the search did, promised of the
    images that it was told of."""
    from cache import InputError
    from stages.simulate import HONEST, NO_FIT
    from stages.spending import RUNS
    from stages.threshold import cascade_of

    answer = found["answer"]
    if answer is None:
        raise InputError(
            "nothing was certified, so there is no policy to write: ask for a larger MAX_LOSS or "
            "RISK, or without --policy"
        )
    if answer["model_2"] is None or answer["model_3"] is not None:
        what = "a chain of three" if answer["model_3"] else f"{answer['model_1']} alone"
        raise InputError(
            f"the answer is {what}, and a policy holds a pair: ask otherwise, or without --policy"
        )
    cascade = cascade_of(answer)
    keys = (*NO_FIT, *HONEST) if found["fit_method"] == "cross-fit" else NO_FIT
    fit = NO_FIT | {key: answer[key] for key in keys if key in answer}
    fit["objective"] = f"search: {found['question']}"
    if found["cost"]["kind"] != RUNS:
        how = replace(how, costs=replace(how.costs, baseline=answer["baseline"]))
    return policies.deploy(store, reported, cascade, fit, how, folder, found["certificate"])


def _question(
    asked: Mapping[str, Question],
    certify: str | None,
    within: float | None,
    confidence: float | None,
) -> Question:
    """The one question asked; --certify is one of its own, which may have a budget."""
    from cache import InputError
    from stages.questions import CERTIFY, Question

    if certify is None:
        return questions.only(asked, within, confidence)
    others = [flag for flag in asked if flag != "--max-cost"]
    others += ["--within"] if within is not None else []
    others += ["--confidence"] if confidence is not None else []
    if others:
        raise InputError(f"--certify is a question of its own: leave out {others[0]}, or --certify")
    return Question(CERTIFY)


def _one_by_one(certify: str | None, stages: int, optimism: bool, batch_size: int) -> None:
    """What prices and resamples pairs, request by request."""
    from cache import InputError

    special = {"--certify": certify is not None, "--stages 3": stages == 3}
    given = [flag for flag, there in special.items() if there]
    if given and (optimism or len(given) > 1):
        other = "--optimism" if optimism else given[1]
        raise InputError(f"{given[0]} goes without {other}: ask for one of them")
    if given and batch_size > 1:
        raise InputError(f"{given[0]} prices requests one by one: leave out --batch-size")


def _table(store: Store, scorefn: str, postcheck: bool | None) -> tuple[Rule, ...]:
    from cascade_cli import asking
    from stages.allpairs import rules

    names = asking.deployable_scores(store, scorefn)
    return tuple(rules(names, (False, True) if postcheck is None else (postcheck,)))


def _pricer(store: Store, reported: ScoreSet, asked: prices.Asked) -> Pricer:
    """Prices of the models, or the runs of any model where no cost is known; another model comes
    along only to be compared with."""
    from stages.pricing import Pricer
    from stages.spending import counted_runs

    elsewhere = asked.baseline is not None and asked.baseline not in reported.models
    everyone = prices.with_references(store, reported) if elsewhere else reported
    found = prices.pricer(store, everyone, reported.models, asked)
    if found is not None:
        return found
    say("so the runs of any model count alike, and no cascade can be cheaper than a single model")
    counted = counted_runs(everyone.models)
    return Pricer(everyone, counted, asked.batch_size, baseline=asked.baseline)


def _promise(
    certify: str | None,
    bound: str | None,
    reference: str | None,
    max_usage: float | None,
) -> Promise | None:
    if certify is None:
        return None
    from cascade_cli.asking import risks
    from stages.certify import Limits
    from stages.guarantee import Promise

    limits = Limits(*risks(certify), bound or "binomial", max_usage)
    return Promise(limits, reference)
