"""`search`: which cascade to deploy, out of all pairs, rules and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import typer

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import pricer_or_runs, prices_by_device
from cascade_cli.inputs.fit import fit_plan
from cascade_cli.inputs.flags import is_given, refuse
from cascade_cli.inputs.loss import under_loss
from cascade_cli.inputs.policy import write_policy
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
from cascade_cli.show.files import check_table, write_rows
from cascade_cli.show.fit import calibrated_by, decided_by_folds
from cascade_cli.show.search import show_devices, show_search
from cascade_cli.show.text import print_json, print_text, progress, say
from stages import search as stage
from stages.calibration import calibrated
from stages.cascade import Cascade
from stages.certify import Limits
from stages.costs import RUNS, Pricer, Prices
from stages.scores import ScoreSet, with_loss, with_references
from stages.search import (
    ALL_DEVICES,
    CERTIFY,
    MISSES,
    DeviceChoice,
    Promise,
    Question,
    SearchResult,
    Space,
    rules,
)
from stages.simulate import FitFacts, FittedLimit
from stages.threshold import FitPlan


@dataclass(frozen=True)
class SpaceOptions(opt.ComparedOptions):
    """What is searched, whether it is searched again, and where the answer goes as a policy."""

    stages: int = opt.option(2, "3: also chains of three models.", min=2, max=3)
    runtimes: str | None = opt.option(
        None, "Try each model in each of these, by commas, or in all: MODEL@RUNTIME."
    )
    top: int = opt.option(0, "List so many answers, the best first, each of another pair.", min=0)
    optimism: bool = opt.option(False, "Search again in resamples of the fitting images.")
    resamples: int = opt.option(200, "How many, for --optimism.", min=2, max=10**5)
    policy: str | None = opt.option(None, "Also write the answer to this folder: see export.")


@opt.grouped(
    "dataset models asked loss max_loss certified top stages optimism resamples data scorefn "
    "calibrate postcheck split fit_split halves stratified weights runtime runtimes cost "
    "cost_device batch_size baseline policy output for_spreadsheets cache as_json",
    models="Search these only, separated by commas.",
    cost_device="Whose costs; several by commas, or all, to compare them. [default: one that has "
    "them all]",
)
def search(
    context: typer.Context,
    wanted: opt.LogitsOptions,
    asked: opt.QuestionOptions,
    judged: opt.LossOptions,
    certified: opt.CertifyOptions,
    space: SpaceOptions,
    costs: opt.CostOptions,
    common: opt.CommonOptions,
) -> None:
    """Which cascade to deploy: out of all pairs, rules and λ, with what it saves and how sure.

    On several devices: the best on each, what one device's choice costs on another, and one choice
    for all.

    \b
    cascade search -d digits --min-accuracy 0.98 --max-usage 0.2
    cascade search -d digits --max-latency 12ms@jetson-nano:8 --top 10
    cascade search -d digits --cost-device jetson-nano,a100
    """
    check_table(common)
    check_question(asked, judged)
    _check_asked(context, asked, judged, certified, space)
    _check_space(context, certified.certify, space, costs.batch_size)
    promise, store = _promise(certified, asked), Store(common.cache)
    scores = deployable_scores(store, space.scorefn)
    reported = reported_scores(store, wanted, names_in(wanted.models), space.runtimes)
    scores = known_scores(scores, reported, is_given(context, "scorefn"))
    enough_models(store, reported.models[1:], reported)
    fitted = fit_plan(store, reported, wanted)
    reported, fitted, scores = calibrated(reported, fitted, space.calibrate, scores)
    reported, fitted = under_loss(store, judged.loss, reported, fitted)
    choices = Space(tuple(rules(scores, postchecks(space.postcheck))), space.stages)
    by_device = prices_by_device(store, reported, costs.cost_device, costs.cost)
    if by_device is not None:
        _check_of_several(context, asked, space)
        questions = {
            device: _question_on(store, reported, asked, costs, Pricer(reported, prices))
            for device, prices in by_device.items()
        }
        how = (by_device, questions, costs.batch_size, choices)
        _tell_devices(
            stage.compare_devices(reported, fitted, *how), reported, fitted, by_device, common
        )
        return
    pricer = _pricer(store, reported, costs)
    question = Question(CERTIFY)
    if promise is None:
        question = question_of(store, reported, asked, pricer, costs, judged.max_loss)
    else:
        limits = replace(promise.limits, cost=cost_limit(asked, pricer))
        promise = replace(promise, limits=limits)
    _check_question(question, space)
    with progress("searching again on folds") as tell:
        run = stage.Search.of(reported, fitted, pricer, choices, question, tell)
        say(*run.plan.notes)
        again = space.resamples if space.optimism else None
        found = stage.run(store, run, again, promise, space.top)
    policy, refused = None, None
    if space.policy is not None:
        try:
            policy = _deployed(store, found, run.reported, wanted, costs, space.policy)
        except InputError as error:  # the answer is no less of one
            refused = error
    write_rows(found.rows, common)
    if common.as_json:
        more = calibrated_by(space.calibrate, fitted)
        more |= {} if policy is None else {"policy": policy}
        print_json(vars(found) | run.reported.cut | more)
    else:
        show_search(found, () if policy is None else policy["files"])
    if refused is not None:
        raise refused


def _deployed(
    store: Store,
    found: SearchResult,
    reported: ScoreSet,
    wanted: opt.LogitsOptions,
    costs: opt.CostOptions,
    folder: str,
) -> dict[str, Any]:
    """Write the answer as a policy; InputError where it cannot be one."""
    decided = _decided(found, reported)
    if found.cost["kind"] != RUNS:
        costs = replace(costs, baseline=decided[1].baseline)
    how = (opt.MemoryOptions(), wanted, costs)
    if found.target == MISSES:
        say("note: the policy is written, and its answer MISSES what was asked")
    return write_policy(store, reported, decided, *how, folder, found.certificate)


def _decided(found: SearchResult, reported: ScoreSet) -> tuple[Cascade, FittedLimit]:
    """The answer, fitted as the search did, promised of the images that it was told of; InputError
    where there is none."""
    answer = found.answer
    if answer is None:
        raise InputError(
            "nothing was certified, so there is no policy to write: ask for a larger MAX_LOSS or "
            "RISK, or without --policy"
        )
    facts = FitFacts(
        fit_split=answer.fit_split,
        fit_method=answer.fit_method,
        fit_n=answer.fit_n,
        objective=f"search: {found.question}",
        fit_accuracy=answer.fit_accuracy,
    )
    limits = [answer.threshold, answer.limit_2][: len(answer.models) - 1]
    fitted = reported.coefficients.get(str(answer.score), {})
    check = bool(answer.postcheck)
    cascade = Cascade.of(answer.models, answer.score, *limits, postcheck=check, coefficients=fitted)
    return cascade, FittedLimit.told(facts, answer.accuracy, answer.against)


def _check_asked(
    context: typer.Context,
    asked: opt.QuestionOptions,
    judged: opt.LossOptions,
    certified: opt.CertifyOptions,
    space: SpaceOptions,
) -> None:
    """InputError where options do not go together; --certify is a question of its own, which may
    have a budget."""
    if certified.certify is None:
        parts = ("bound", "reference")
        refuse(context, parts, "belongs to --certify MAX_LOSS,RISK: give that too")
    else:
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


def _check_question(question: Question, space: SpaceOptions) -> None:
    """InputError where resamples, or chains, are asked what they do not price."""
    for goal in question.caps if space.optimism else ():
        raise InputError(f"--optimism goes without --{goal.kind}: leave out one of them")
    for goal in question.caps if space.stages == 3 else ():
        if goal.pricer and goal.pricer.batch_size > 1:
            raise InputError(
                f"--stages 3 prices requests one by one: leave out the batch size of --{goal.kind}"
            )


def _question_on(
    store: Store,
    reported: ScoreSet,
    asked: opt.QuestionOptions,
    costs: opt.CostOptions,
    pricer: Pricer,
) -> Question:
    """What one device of several is asked: limits that name another one are that one's."""
    device = str(pricer.prices.device)
    question = question_of(store, reported, asked, pricer, replace(costs, cost_device=device))
    elsewhere = [
        goal for goal in question.caps if goal.pricer and goal.pricer.prices.device != device
    ]
    goals = [goal for goal in question.goals if goal not in elsewhere]
    return Question.of(goals, not question.cheapest or not goals)


def _check_of_several(
    context: typer.Context, asked: opt.QuestionOptions, space: SpaceOptions
) -> None:
    """InputError where several devices are asked what only one is."""
    special = {f"--{name}": is_given(context, name) for name in ("match", "within", "confidence")}
    special |= {
        f"--{name}": is_given(context, name) for name in ("certify", "baseline", "policy", "loss")
    }
    special |= {
        "--stages 3": space.stages == 3,
        "--optimism": space.optimism,
        "--top": space.top > 0,
    }
    for flag, there in special.items():
        if there:
            raise InputError(f"{flag} is for one --cost-device: leave it out, or name one")


def _tell_devices(
    rows: Sequence[DeviceChoice],
    reported: ScoreSet,
    fitted: FitPlan,
    by_device: dict[str, Prices],
    common: opt.CommonOptions,
) -> None:
    """Print and write the choice of each device."""
    unit = next(iter(by_device.values())).unit
    say(*fitted.notes)
    write_rows([row | {"cost_unit": unit} for row in stage.priced_everywhere(rows)], common)
    if common.as_json:
        head = {"dataset": reported.dataset, "split": reported.split, "fit_split": fitted.split}
        head |= {"fit_method": fitted.method, "cost_unit": unit}
        own = [row for row in rows if row.device != ALL_DEVICES]
        shared = [row for row in rows if row.device == ALL_DEVICES]
        more = {"rows": own, "one_for_all": shared[0] if shared else None}
        print_json(head | reported.cut | more)
        return
    show_devices(rows, unit)
    if fitted.method == "cross-fit":
        print_text(decided_by_folds(len(reported.labels)))


def _check_space(
    context: typer.Context, certify: str | None, space: SpaceOptions, batch_size: int
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


def _pricer(store: Store, reported: ScoreSet, costs: opt.CostOptions) -> Pricer:
    """Prices of the models, or the runs of any model where no cost is known; another model comes
    along only to be compared with."""
    elsewhere = costs.baseline is not None and costs.baseline not in reported.models
    everyone = with_references(store, reported) if elsewhere else reported
    if reported.loss is not None and elsewhere:
        everyone = with_loss(store, everyone, reported.loss)
    return pricer_or_runs(store, everyone, reported.models, costs)


def _promise(options: opt.CertifyOptions, asked: opt.QuestionOptions) -> Promise | None:
    if options.certify is None:
        return None
    limits = Limits(*risks(options.certify), options.bound or "binomial", asked.max_usage)
    return Promise(limits, options.reference)
