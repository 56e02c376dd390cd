"""`search`: which cascade to deploy, out of all pairs, rules and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import typer

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import prices_by_device
from cascade_cli.inputs.nobody import last_stage
from cascade_cli.inputs.policy import write_policy
from cascade_cli.inputs.question import question_of
from cascade_cli.inputs.search import (
    before_last,
    check_of_several,
    check_priced,
    check_search,
    pricer_of_search,
    promise_of,
    questions_on,
    searched,
)
from cascade_cli.show.files import check_table, write_rows
from cascade_cli.show.fit import calibrated_by, decided_by_folds
from cascade_cli.show.points import show_classes
from cascade_cli.show.search import show_devices, show_search
from cascade_cli.show.text import print_json, print_text, progress, say
from stages import search as stage
from stages.cascade import Cascade
from stages.costs import RUNS, Prices
from stages.scores import ScoreSet, is_nobody, loss_given, named_classes, without_nobody
from stages.search import (
    ALL_DEVICES,
    CERTIFY,
    MISSES,
    DeviceChoice,
    Question,
    SearchResult,
)
from stages.simulate import FitFacts, FittedLimit
from stages.threshold import ClassChange, FitPlan, by_class


@opt.grouped(
    "dataset models asked loss max_loss nobody certified top stages optimism resamples data "
    "scorefn calibrate postcheck split fit_split halves stratified weights runtime runtimes cost "
    "cost_device batch_size cost_budget baseline policy output for_spreadsheets cache as_json",
    models="Search these only, separated by commas.",
    cost_device="Whose costs; several by commas, or all, to compare them. [default: one that has "
    "them all]",
)
def search(
    context: typer.Context,
    wanted: opt.LogitsOptions,
    asked: opt.QuestionOptions,
    judged: opt.LossOptions,
    nobody: opt.NobodyOptions,
    certified: opt.CertifyOptions,
    space: opt.SpaceOptions,
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
    check_search(context, asked, judged, nobody, certified, space, costs)
    store = Store(common.cache)
    reported, fitted, choices = searched(
        *(context, store, wanted, judged, nobody, space), one_by_one=_one_by_one(asked, costs)
    )
    by_device = prices_by_device(store, reported, costs.cost_device, costs.cost)
    if by_device is not None:
        check_of_several(context, space)
        questions = questions_on(store, reported, asked, costs, by_device)
        how = (by_device, questions, costs.batch_size, choices)
        rows = stage.compare_devices(reported, fitted, *how)
        _tell_devices(rows, reported, fitted, by_device, common)
        return
    last = last_stage(store, reported, nobody, costs)
    pricer = pricer_of_search(store, reported, costs, last)
    reported, fitted = before_last(reported, fitted, last)
    promise, question = promise_of(certified, asked, pricer), Question(CERTIFY)
    if promise is None:
        most = (judged.max_loss, nobody.max_abstained)
        question = question_of(store, reported, asked, pricer, costs, *most)
        check_priced(question, space)
    with progress("searching again on folds") as tell:
        run = stage.Search.of(reported, fitted, pricer, choices, question, tell)
        say(*run.plan.notes)
        again = space.resamples if space.optimism else None
        found = stage.run(store, run, again, promise, space.top)
    _tell(store, found, run, wanted, costs, space, common)


def _one_by_one(asked: opt.QuestionOptions, costs: opt.CostOptions) -> bool:
    """Whether no limit is of batches."""
    placed = [*(asked.max_latency or ()), *(asked.max_energy or ())]
    return costs.batch_size == 1 and not any(":" in text for text in placed)


def _tell(
    store: Store,
    found: SearchResult,
    run: stage.Search,
    wanted: opt.LogitsOptions,
    costs: opt.CostOptions,
    space: opt.SpaceOptions,
    common: opt.CommonOptions,
) -> None:
    """Print and write the answer, and its policy where one is asked for."""
    policy, refused = None, None
    if space.policy is not None:
        try:
            told = _that_answers(found, run.reported)
            policy = _deployed(store, found, told, wanted, costs, space.policy)
        except InputError as error:  # the answer is no less of one
            refused = error
    write_rows(found.rows, common)
    classes = _by_class(store, run) if found.answer and not run.reported.nobody else []
    if common.as_json:
        more = calibrated_by(space.calibrate, run.plan)
        more |= {"classes": classes} if classes else {}
        more |= {} if policy is None else {"policy": policy}
        print_json(vars(found) | run.reported.cut | more)
    else:
        show_search(found, () if policy is None else policy["files"])
        show_classes(run.point, run.judge.baseline, classes, run.plan.method)
    if refused is not None:
        raise refused


def _by_class(store: Store, run: stage.Search) -> list[ClassChange]:
    """What the answer gains and loses on each class, where answers have a loss."""
    if run.reported.loss is None:
        return []
    judge = run.judge
    alone = judge.known.baseline(judge.known.index(judge.baseline))
    return by_class(run.reported, run.point, alone, named_classes(store, run.reported))


def _that_answers(found: SearchResult, reported: ScoreSet) -> ScoreSet:
    """The scores without a last stage that the answer has not."""
    ends = found.answer is not None and is_nobody(found.answer.models[-1])
    return reported if ends else without_nobody(reported)


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
    if loss_given(reported) is not None:
        say("note: a policy promises accuracy, use and cost, and does not hold --loss")
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
