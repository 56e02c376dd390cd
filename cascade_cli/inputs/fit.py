"""Which images fit λ, and the cascade with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cache import InputError, Store, one_of
from cascade_cli.inputs.scores import checked_score, known_scores, score_set
from cascade_cli.options.decision import DecisionOptions
from cascade_cli.options.images import LogitsOptions
from cascade_cli.show.text import say
from stages.calibration import calibrated
from stages.cascade import OBJECTIVES, Cascade, Limit
from stages.datasets import split_name
from stages.scores import ScoreSet, allows, named_in, with_references
from stages.simulate import FittedLimit
from stages.threshold import FitPlan, fitted_point, plan


def fit_plan(
    store: Store,
    reported: ScoreSet,
    wanted: LogitsOptions,
    models: Sequence[str] | None = None,
) -> FitPlan:
    """The images that fit λ; a split asked for is extracted first where that can be done."""
    split = wanted.fit_split
    if split is not None:
        named = split_name(reported.dataset, split)
        score_set(store, reported.dataset, named, models or reported.models, wanted)
    return plan(store, reported, split, runtime=wanted.runtime)


def calibrated_decision(
    store: Store,
    reported: ScoreSet,
    pair: tuple[str, ...],
    decision: DecisionOptions,
    wanted: LogitsOptions,
) -> tuple[ScoreSet, DecisionOptions, FitPlan]:
    """The same with the probability of being right as score, and the images that fit."""
    fitted = fit_plan(store, reported, wanted, pair)
    score = checked_score(store, score_asked(decision, reported))
    reported, fitted, [score] = calibrated(reported, fitted, decision.calibrate, [score])
    say(*fitted.notes)
    return reported, replace(decision, scorefn=score), fitted


def score_asked(decision: DecisionOptions, reported: ScoreSet) -> str:
    """Its name, by default one that all models have."""
    return decision.scorefn or known_scores(("maxp",), reported, asked=False)[0]


def limit_in(text: str, score: str) -> Limit:
    """λ of -t; InputError for what is none of this score."""
    try:
        limit = Limit.parse(text)
        if limit.value is not None and not allows(score, limit.value):
            raise ValueError(text)
    except ValueError as error:
        raise InputError(
            f"λ {text!r} is no threshold of {score}: give a number"
            f"{'' if allows(score, 2) else ' in [0, 1]'}, `always` or `never`"
        ) from error
    return limit


def decided_cascade(
    store: Store,
    reported: ScoreSet,
    pair: tuple[str, ...],
    decision: DecisionOptions,
    wanted: LogitsOptions,
    baseline: str | None,
    fitted: FitPlan | None = None,
) -> tuple[Cascade, FittedLimit]:
    """The cascade with its λ, given or fitted, and how it came about; `baseline` is the model that
    was asked for to compare with, `fitted` the plan where it is known, and told, already."""
    right = None
    if baseline is not None:
        everyone = with_references(store, reported)
        if baseline not in everyone.models:
            raise one_of("baseline", baseline, everyone.models)
        right = everyone.correct[everyone.index(baseline)]
    threshold, postcheck = decision.threshold, decision.postcheck
    name = score_asked(decision, reported)
    score = named_in(store, name)
    if decision.objective not in OBJECTIVES:
        raise one_of("objective", decision.objective, OBJECTIVES)
    if score.needs_label:
        if postcheck or threshold is not None:
            say("the oracle knows the label: λ and post-check mean nothing to it and are ignored")
        return Cascade.of(pair, name), FittedLimit()
    if threshold is not None:
        return Cascade.of(pair, name, limit_in(threshold, name), postcheck=postcheck), FittedLimit()
    if fitted is None:
        fitted = fit_plan(store, reported, wanted, pair)
        say(*fitted.notes)
    how = (name, postcheck, decision.objective, right)
    limit, fit = fitted_point(reported, fitted, (pair[0], pair[1]), *how)
    return Cascade.of(pair, name, limit, postcheck=postcheck), fit
