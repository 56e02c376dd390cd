"""Which images fit λ, and the cascade with it."""

from __future__ import annotations

from collections.abc import Sequence

from cache import InputError, Store, one_of
from cascade_cli.inputs.scores import known_scores, score_set
from cascade_cli.options.decision import DecisionOptions
from cascade_cli.options.images import LogitsOptions
from cascade_cli.show.text import say
from stages.cascade import OBJECTIVES, Cascade, Limit
from stages.datasets import split_name
from stages.scores import LABEL_FREE, ScoreSet, named_in, with_references
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


def decided_cascade(
    store: Store,
    reported: ScoreSet,
    pair: tuple[str, str],
    decision: DecisionOptions,
    wanted: LogitsOptions,
    baseline: str | None,
) -> tuple[Cascade, FittedLimit]:
    """The cascade with its λ, given or fitted, and how it came about; `baseline` is the model that
    was asked for to compare with."""
    right = None
    if baseline is not None:
        everyone = with_references(store, reported)
        if baseline not in everyone.models:
            raise one_of("baseline", baseline, everyone.models)
        right = everyone.correct[everyone.index(baseline)]
    name, threshold, postcheck = decision.scorefn, decision.threshold, decision.postcheck
    if name is None:
        name = known_scores(("maxp",), reported, asked=False)[0]
    score = named_in(store, name)
    if decision.objective not in OBJECTIVES:
        raise one_of("objective", decision.objective, OBJECTIVES)
    if score.needs_label:
        if postcheck or threshold is not None:
            say("the oracle knows the label: λ and post-check mean nothing to it and are ignored")
        return Cascade.of(pair, name), FittedLimit()
    if threshold is not None:
        try:
            limit = Limit.parse(threshold, name)
            return Cascade.of(pair, name, limit, postcheck=postcheck), FittedLimit()
        except ValueError as error:
            raise InputError(
                f"λ {threshold!r} is no threshold of {name}: give a number"
                f"{' in [0, 1]' if name in LABEL_FREE else ''}, `always` or `never`"
            ) from error
    fitted = fit_plan(store, reported, wanted, pair)
    say(*fitted.notes)
    limit, fit = fitted_point(reported, fitted, pair, name, postcheck, decision.objective, right)
    return Cascade.of(pair, name, limit, postcheck=postcheck), fit
