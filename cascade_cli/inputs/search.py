"""What a search is of, and which of its options do not go together."""

from __future__ import annotations

from dataclasses import replace

import typer

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import pricer_or_runs
from cascade_cli.inputs.fit import fit_plan
from cascade_cli.inputs.flags import is_given, refuse
from cascade_cli.inputs.loss import under_loss
from cascade_cli.inputs.nobody import nobody_asked
from cascade_cli.inputs.question import (
    check_question,
    cost_limit,
    flags_given,
    question_of,
    tested,
)
from cascade_cli.inputs.scores import (
    deployable_scores,
    enough_models,
    known_scores,
    reported_scores,
)
from cascade_cli.inputs.words import names_in, postchecks, risks
from stages.calibration import calibrated
from stages.certify import Limits
from stages.costs import Pricer, Prices
from stages.scores import ScoreSet, with_loss, with_nobody, with_references
from stages.search import Promise, Question, Space, rules
from stages.threshold import FitPlan, LastStage


def check_search(
    context: typer.Context,
    asked: opt.QuestionOptions,
    judged: opt.LossOptions,
    nobody: opt.NobodyOptions,
    certified: opt.CertifyOptions,
    space: opt.SpaceOptions,
    costs: opt.CostOptions,
) -> None:
    """InputError for options that do not go together, whatever the cache has."""
    check_question(asked, judged, nobody_asked(context, nobody))
    _check_asked(context, asked, judged, certified, space)
    _check_unsure(context, asked, nobody)
    _check_space(context, certified.certify, space, costs.batch_size)


def searched(
    context: typer.Context,
    store: Store,
    wanted: opt.LogitsOptions,
    judged: opt.LossOptions,
    nobody: opt.NobodyOptions,
    space: opt.SpaceOptions,
    one_by_one: bool,
) -> tuple[ScoreSet, FitPlan, Space]:
    """The models on the images reported, those that fit, and which cascades of them are tried;
    chains are priced only where requests come `one_by_one`."""
    scores = deployable_scores(store, space.scorefn)
    reported = reported_scores(store, wanted, names_in(wanted.models), space.runtimes)
    scores = known_scores(scores, reported, is_given(context, "scorefn"))
    enough = reported.models if nobody_asked(context, nobody) else reported.models[1:]
    enough_models(store, enough, reported)
    fitted = fit_plan(store, reported, wanted)
    reported, fitted, scores = calibrated(reported, fitted, space.calibrate, scores)
    reported, fitted = under_loss(store, judged.loss, reported, fitted)
    table = tuple(rules(scores, postchecks(space.postcheck)))
    return reported, fitted, Space(table, space.stages, third=one_by_one)


def _check_asked(
    context: typer.Context,
    asked: opt.QuestionOptions,
    judged: opt.LossOptions,
    certified: opt.CertifyOptions,
    space: opt.SpaceOptions,
) -> None:
    """InputError where options do not go together; --certify is a question of its own, which may
    have a budget."""
    if certified.certify is None:
        parts = ("bound", "reference")
        refuse(context, parts, "belongs to --certify MAX_LOSS,RISK: give that too")
    else:
        risks(certified.certify)
        others = [f for f in flags_given(asked) if f not in ("--max-cost", "--max-usage")]
        others += ["--top"] if space.top else []
        others += [] if judged.max_loss is None else ["--max-loss"]
        if others:
            raise InputError(
                f"--certify is a question of its own: leave out {others[0]}, or --certify"
            )
    if not space.optimism:
        refuse(context, ("resamples",), "belongs to --optimism: give that too")
    elif certified.certify is None and tested(asked, judged):
        raise InputError(
            "an answer that other images test has no optimism: leave out --optimism, or ask for "
            "--best-accuracy, --min-accuracy or --max-cost"
        )


def _check_unsure(
    context: typer.Context, asked: opt.QuestionOptions, nobody: opt.NobodyOptions
) -> None:
    """InputError where what leaves images unanswered is asked what is of models alone."""
    if not nobody_asked(context, nobody):
        return
    refuse(context, ("certify", "optimism"), "goes without --abstain and --human: leave it out")
    if asked.min_accuracy is not None and nobody.abstain is not None:
        raise InputError("--min-accuracy goes without --abstain, whose cost is a loss: --max-loss")


def check_priced(question: Question, space: opt.SpaceOptions) -> None:
    """InputError where resamples, or chains, are asked what they do not price."""
    for goal in question.caps if space.optimism else ():
        raise InputError(f"--optimism goes without --{goal.kind}: leave out one of them")
    for goal in question.caps if space.stages == 3 else ():
        if goal.pricer and goal.pricer.batch_size > 1:
            raise InputError(
                f"--stages 3 prices requests one by one: leave out the batch size of --{goal.kind}"
            )


def questions_on(
    store: Store,
    reported: ScoreSet,
    asked: opt.QuestionOptions,
    costs: opt.CostOptions,
    by_device: dict[str, Prices],
) -> dict[str, Question]:
    """What each device of several is asked: limits that name another one are that one's."""
    found = {}
    for device, prices in by_device.items():
        own = replace(costs, cost_device=device)
        question = question_of(store, reported, asked, Pricer(reported, prices), own)
        others = by_device.keys() - {device}
        goals = [
            goal
            for goal in question.goals
            if goal.pricer is None or goal.pricer.prices.device not in others
        ]
        found[device] = Question.of(goals, not question.cheapest or not goals)
    return found


def check_of_several(context: typer.Context, space: opt.SpaceOptions) -> None:
    """InputError where several devices are asked what only one is."""
    special = {f"--{name}": is_given(context, name) for name in ("match", "within", "confidence")}
    more = ("certify", "baseline", "policy", "loss", "abstain", "human")
    special |= {f"--{name}": is_given(context, name) for name in more}
    special |= {
        "--cost-budget": is_given(context, "cost_budget"),
        "--stages 3": space.stages == 3,
        "--optimism": space.optimism,
        "--top": space.top > 0,
    }
    for flag, there in special.items():
        if there:
            raise InputError(f"{flag} is for one --cost-device: name one, or leave out {flag}")


def _check_space(
    context: typer.Context, certify: str | None, space: opt.SpaceOptions, batch_size: int
) -> None:
    """InputError where what prices and resamples pairs, request by request, is asked to do more,
    and where one runtime is named beside several."""
    if space.runtimes is not None:
        refuse(context, ("runtime",), "names one runtime: leave it out, or --runtimes")
    special = {"--certify": certify is not None, "--stages 3": space.stages == 3}
    given = [flag for flag, there in special.items() if there]
    if given and (space.optimism or len(given) > 1):
        other = "--optimism" if space.optimism else given[1]
        raise InputError(f"{given[0]} goes without {other}: ask for one of them")
    if space.calibrate and (certify is not None or space.optimism):
        raise InputError("--calibrate goes without --certify and --optimism: leave out one of them")
    if given and batch_size > 1:
        raise InputError(f"{given[0]} prices requests one by one: leave out --batch-size")


def before_last(
    reported: ScoreSet, fitted: FitPlan, last: LastStage | None
) -> tuple[ScoreSet, FitPlan]:
    """With the row of what takes what stays unsure; as they are without."""
    if last is None:
        return reported, fitted
    told = with_nobody(reported, last.nobody)
    same = fitted.scores is reported
    return told, replace(fitted, scores=told if same else with_nobody(fitted.scores, last.nobody))


def pricer_of_search(
    store: Store, reported: ScoreSet, costs: opt.CostOptions, last: LastStage | None
) -> Pricer:
    """Prices of the models, or the runs of any model where no cost is known; another model comes
    along only to be compared with."""
    elsewhere = costs.baseline is not None and costs.baseline not in reported.models
    everyone = with_references(store, reported) if elsewhere else reported
    if reported.loss is not None and elsewhere:
        everyone = with_loss(store, everyone, reported.loss)
    if last is not None:
        everyone = with_nobody(everyone, last.nobody)
    return pricer_or_runs(store, everyone, reported.models, costs)


def promise_of(
    options: opt.CertifyOptions, asked: opt.QuestionOptions, pricer: Pricer
) -> Promise | None:
    """That of --certify, in units of the loss where answers have one; None without."""
    if options.certify is None:
        return None
    bound = options.bound or ("binomial" if pricer.scores.loss is None else "betting")
    epsilon, delta = risks(options.certify)
    caps = (asked.max_usage, cost_limit(asked, pricer))
    limits = Limits(epsilon, delta, bound, *caps, pricer.scores.loss)
    return Promise(limits, options.reference)
