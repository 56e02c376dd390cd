"""`certify`: a promise of what a cascade loses, from the labels of few images, or of none."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.few_labels import check_plan, new_plan, pictures_of
from cascade_cli.inputs.flags import is_given
from cascade_cli.inputs.policy import write_policy
from cascade_cli.show.certify import as_facts, sentences, show_certify, status
from cascade_cli.show.text import print_json, say
from stages.few_labels import (
    DISAGREEMENT,
    CalibrationImages,
    Classes,
    FewLabelsResult,
    Folder,
    PlanProgress,
    calibrate,
)
from stages.scores import load
from stages.simulate import FitFacts, FittedLimit

# So many images are written to be labelled together.
_TOGETHER = 50


@opt.grouped(
    "limits on_split dataset reference models max_usage max_cost label_budget label_share bound "
    "per hold accuracy_sample seed plan interactive data port browser policy fit_split scorefn "
    "postcheck runtime cost cost_device cache as_json",
    dataset="Dataset. [default: the cache's only one]",
    fit_split="Labelled split that proposes. [default: one that no model was trained on, else a "
    "part of the images]",
    data="Folder that holds the images, for --interactive.",
)
def certify(
    context: typer.Context,
    given: opt.FewLabelsOptions,
    wanted: opt.LogitsOptions,
    space: opt.ComparedOptions,
    costs: opt.CostOptions,
    common: opt.CommonOptions,
    limits: Annotated[
        str | None,
        typer.Argument(
            metavar="[MAX_LOSS,RISK]",
            help="0.02,0.1 loses at most 2 points; wrong at most 1 time in 10. A new plan.",
        ),
    ] = None,
) -> None:
    """Certify a cascade from few labels: only where its answer is another than the reference's.

    The first call makes a plan, which no label can change, and writes the images to label next;
    with their labels (--interactive, or import --labels-for) the next call goes on. It may be
    stopped at any time: what passed holds.

    \b
    cascade certify 0.02,0.1 -d digits --unlabelled test
    cascade certify --interactive
    cascade import --labels-for certify certify/to-label.csv
    """
    check_plan(context, limits, given)
    store, folder = Store(common.cache), Folder(given.plan)
    if limits is None:
        calibration = calibrate(store, folder.plan())
    else:
        folder.check_free()
        asked = is_given(context, "scorefn")
        calibration = new_plan(store, limits, given, wanted, space, costs, asked)
        folder.start(calibration.plan)
    classes = Classes.of(store, calibration.scores)
    if given.interactive:
        _label(store, folder, calibration, classes, given, wanted)
    progress = PlanProgress(calibration, folder.labels(calibration.plan))
    _tell(store, folder, progress, classes, given, wanted, common)


def _label(
    store: Store,
    folder: Folder,
    calibration: CalibrationImages,
    classes: Classes,
    given: opt.FewLabelsOptions,
    wanted: opt.LogitsOptions,
) -> None:
    """Ask in a page, until nothing is left to ask or it is closed."""
    from stages.few_labels import PlanLabeller  # and what makes pictures, likewise
    from stages.labelling import ask  # a server, for those who ask for it

    if calibration.plan.risk == DISAGREEMENT:
        raise InputError("this plan needs no label: leave out --interactive")
    read = pictures_of(store, calibration, wanted)
    labeller = PlanLabeller(folder, calibration, classes, read, lambda each: status(each.result()))
    ask(labeller, given.browser, given.port, say)


def _tell(
    store: Store,
    folder: Folder,
    progress: PlanProgress,
    classes: Classes,
    given: opt.FewLabelsOptions,
    wanted: opt.LogitsOptions,
    common: opt.CommonOptions,
) -> None:
    found = progress.result()
    rows = progress.asks(_TOGETHER).tolist()
    calibration = progress.calibration
    asked = [
        (
            int(calibration.scores.sample_ids[row]),
            calibration.keys[row],
            [classes.name(each) for each in calibration.answers(row)],
        )
        for row in rows
    ]
    file = folder.ask(asked)
    policy = None if given.policy is None else _policy(store, progress, found, wanted, given.policy)
    if common.as_json:
        more: dict[str, Any] = {"sentences": sentences(found), "plan": given.plan}
        more |= {"to_label_file": file if asked else None, "asks": len(asked)}
        print_json(vars(found) | more | ({} if policy is None else {"policy": policy}))
        return
    more_lines = [*_how_to_go_on(given.plan, file, len(asked)), *(policy or {}).get("files", ())]
    show_certify(found, classes.names, more_lines)


def _how_to_go_on(plan: str, file: str, asked: int) -> list[str]:
    if not asked:
        return []
    where = "" if plan == opt.FewLabelsOptions().plan else f" --plan {plan}"
    return [
        f"fill in the column label of {file}, {asked} images in order, then",
        f"  cascade import --labels-for {plan} {file}",
        f"or label them in a page: cascade certify{where} --interactive",
    ]


def _policy(
    store: Store,
    progress: PlanProgress,
    found: FewLabelsResult,
    wanted: opt.LogitsOptions,
    folder: str,
) -> dict[str, Any]:
    """Write what is certified; its accuracy is that on the labelled images that proposed."""
    plan, best = progress.calibration.plan, progress.best
    if best is None:
        raise InputError("nothing is certified yet, so there is no policy to write: see above")
    cascade = plan.candidates[best].cascade
    if plan.part:
        first = cascade.stages[0]
        limit = None if first.limit is None else first.limit.threshold
        pair = " ".join(f"-m{k + 1} {name}" for k, name in enumerate(cascade.models))
        raise InputError(
            "a policy promises an accuracy, and no split has labels: once one has, "
            f"`cascade export --policy {folder} {pair} -s {first.score} -t {limit}`"
        )
    scores = load(
        store, plan.dataset, plan.proposing_split, list(plan.models), runtime=plan.runtime
    )
    facts = FitFacts(
        fit_split=plan.proposing_split,
        fit_method="same-split",
        fit_n=len(scores.labels),
        objective="search: certify",
    )
    costs = opt.CostOptions(cost=None if plan.cost_kind == "runs" else plan.cost_kind)
    wanted = replace(wanted, dataset=plan.dataset, split=plan.proposing_split)
    decided = (cascade, FittedLimit(facts, plan.reference))
    how = (opt.MemoryOptions(), wanted, costs, folder, as_facts(found))
    return write_policy(store, scores, decided, *how)
