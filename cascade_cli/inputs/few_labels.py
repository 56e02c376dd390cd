"""A plan of a certificate from few labels, and where its images and pictures are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import typer

from cache import InputError, Store, one_of
from cascade_cli import options as opt
from cascade_cli.inputs.costs import pricer_or_runs
from cascade_cli.inputs.dataset import dataset_in, open_sources
from cascade_cli.inputs.flags import refuse
from cascade_cli.inputs.scores import deployable_scores, known_scores
from cascade_cli.inputs.words import names_in, parse_cost, postchecks, risks
from cascade_cli.show.text import say
from stages.certify import BOUNDS, Limits
from stages.costs import costs_of
from stages.datasets import split_name
from stages.few_labels import (
    ALL,
    PREDICTED_CLASS,
    THESE,
    CalibrationImages,
    Classes,
    Folder,
    PlanProgress,
    PlanRequest,
    brought,
    calibrate,
    calibration_images,
    propose_plan,
)
from stages.missing import MissingError
from stages.scores import ScoreSet, labelled_splits_of, load, load_unlabelled, own
from stages.search import Space, rules
from stages.threshold import parts, trained_splits

# What a plan fixes, and no later call may say otherwise.
FIXED = (
    *("on_split", "reference", "max_usage", "max_cost", "label_budget", "label_share", "bound"),
    *("per", "hold", "accuracy_sample", "seed", "dataset", "models", "fit_split", "scorefn"),
    *("postcheck", "runtime", "cost", "cost_device"),
)


def check_plan(context: typer.Context, limits: str | None, given: opt.FewLabelsOptions) -> None:
    """InputError for options that do not go together, whatever the cache has."""
    if limits is None:
        refuse(context, FIXED, "belongs to a new plan: give MAX_LOSS,RISK and --unlabelled too")
        return
    risks(limits, "MAX_LOSS,RISK")
    if given.on_split is None:
        raise InputError("which images? give --unlabelled SPLIT: labels that it has are not used")
    for name, value, choices in (
        ("bound", given.bound or "binomial", list(BOUNDS)),
        ("--per", given.per or PREDICTED_CLASS, [PREDICTED_CLASS]),
        ("--hold", given.hold, [ALL, THESE]),
    ):
        if value == "true-class":
            raise InputError(
                "a promise per true class needs the label of every image: bring these in, and ask "
                "`cascade search --certify`, or promise --per predicted-class"
            )
        if value not in choices:
            raise one_of(name, value, choices)
    if given.hold != ALL and given.per is None:
        raise InputError("--hold these is of several promises: give --per predicted-class too")
    if given.label_share is not None and not 0 < given.label_share <= 1:
        raise InputError(f"--label-share {given.label_share}: give a share above 0, at most 1")
    if given.label_budget == 0:
        about = ("label_share", "accuracy_sample", "interactive")
        refuse(context, about, "is of labels, and --label-budget 0 asks for none: leave out one")


def new_plan(
    store: Store,
    limits: str,
    given: opt.FewLabelsOptions,
    wanted: opt.LogitsOptions,
    space: opt.ComparedOptions,
    costs: opt.CostOptions,
    scores_asked: bool,
) -> CalibrationImages:
    """The plan, from the labelled split that fits λ; where there is none a part of the images
    proposes, by how often the answers differ."""
    dataset = dataset_in(store, wanted.dataset, names_in(wanted.models) or ())
    split = split_name(dataset, str(given.on_split))
    names, runtime = names_in(wanted.models), wanted.runtime
    fit_split = wanted.fit_split and split_name(dataset, wanted.fit_split)
    if fit_split == split:
        raise InputError(f"{split} is what certifies: let another split propose (--fit-split)")
    images = partial(_answered_as, store, dataset, split, names, runtime)
    fit_split = fit_split or _labelled_split(store, dataset, split, names, runtime)
    part = fit_split is None
    if fit_split is None:
        proposing = _of_the_split(images, given, split)
    else:
        proposing = load(store, dataset, fit_split, names, runtime=runtime)
        say(f"{fit_split} proposes, {split} certifies")
    proposing = _as_asked(store, proposing, given)
    asked = known_scores(deployable_scores(store, space.scorefn), proposing, scores_asked)
    if learned := own(tuple(asked)):
        raise InputError(f"{learned[0]} is of a package, and a plan holds none: leave it out")
    pricer = pricer_or_runs(store, proposing, proposing.models, costs)
    if pricer.prices.by_request and given.max_cost is not None:
        raise InputError(
            "--max-cost caps how often B runs, which costs of each request do not tell"
        )
    cap = None if given.max_cost is None else parse_cost(given.max_cost, pricer.prices)
    epsilon, delta = risks(limits, "MAX_LOSS,RISK")
    request = PlanRequest(
        limits=Limits(epsilon, delta, given.bound or "binomial", given.max_usage, cap),
        reference=given.reference,
        part=part,
        share=given.label_share,
        seed=given.seed,
        label_budget=given.label_budget,
        per=given.per,
        hold=given.hold,
        accuracy_sample=given.accuracy_sample,
    )
    told = (pricer.prices.kind, pricer.prices.unit)
    table = tuple(rules(asked, postchecks(space.postcheck)))
    how = (costs_of(pricer, proposing), told, Space(table), request)
    return propose_plan(store, proposing, partial(images, part), *how)


def bring_labels(store: Store, plan: str, file: str) -> dict[str, Any]:
    """Keep a file's labels with a plan; what there is now."""
    folder = Folder(plan)
    calibration = calibrate(store, folder.plan())
    known = folder.labels(calibration.plan)
    progress, classes = PlanProgress(calibration, known), Classes.of(store, calibration.scores)
    new = brought(progress, file, classes)
    folder.keep(calibration.plan, known | new)
    return {"plan": plan, "new": len(new), "labels": len(known | new)}


def _answered_as(
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str] | None,
    runtime: str | None,
    part: bool,
    reference: str,
) -> ScoreSet:
    """The calibration images, with the reference's answers for labels."""
    found = load_unlabelled(store, dataset, split, reference, models, runtime=runtime)
    return calibration_images(found, part)


def _labelled_split(
    store: Store, dataset: str, split: str, models: Sequence[str] | None, runtime: str | None
) -> str | None:
    """One that has labels and all the models, of images that none of these was trained on."""
    for name in labelled_splits_of(store, dataset):
        if name == split:
            continue
        try:
            scores = load(store, dataset, name, models, runtime=runtime)
        except MissingError:
            continue
        if not any(name in seen for seen, _ in trained_splits(store, scores).values()):
            return name
    return None


def _of_the_split(
    images: Callable[[bool, str], ScoreSet], given: opt.FewLabelsOptions, split: str
) -> ScoreSet:
    if given.reference is None:
        raise InputError(
            "no other split has labels, by which the reference were told: name it with --reference"
        )
    whole = images(False, given.reference)
    proposing = whole.of_images(np.sort(parts(len(whole.labels))[0]))
    say(
        f"no other split has labels: {len(proposing.labels)} of the {len(whole.labels)} images of "
        f"{split} propose, by how often the answers differ, and the others certify"
    )
    return proposing


def _as_asked(store: Store, proposing: ScoreSet, given: opt.FewLabelsOptions) -> ScoreSet:
    """Where no label is asked for, the reference's answers are what is right."""
    if given.label_budget != 0:
        return proposing
    reference = given.reference or proposing.models[int(proposing.accuracy.argmax())]
    answers = proposing.predictions[proposing.index(reference)]
    return replace(proposing, labels=answers, correct=proposing.predictions == answers)


def pictures_of(
    store: Store, calibration: CalibrationImages, images: opt.ImageOptions
) -> Callable[[int], np.ndarray]:
    """What reads a sample's picture; InputError where these are other images."""
    plan = calibration.plan
    [source] = open_sources(store, plan.dataset, [plan.split], images)
    samples = calibration.scores.sample_ids.tolist()
    for sample, key in zip(samples, calibration.keys, strict=True):
        if sample >= len(source) or str(source.keys[sample]) != key:
            raise InputError(
                f"the images of {plan.split} are not those of the plan, which has {key} as sample "
                f"{sample}: give their folder with --data"
            )
    return source.read
