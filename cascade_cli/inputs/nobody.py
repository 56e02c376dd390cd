"""A last stage that is no model, and the cascade that ends with it."""

from __future__ import annotations

import typer

from cache import InputError, Store, one_of
from cascade_cli import options as opt
from cascade_cli.inputs.fit import fit_plan, limit_in, score_asked
from cascade_cli.inputs.flags import refuse
from cascade_cli.inputs.models import required_pair
from cascade_cli.inputs.words import parse_cost
from cascade_cli.options.common import no_share
from cascade_cli.show.text import say
from stages import costs as prices
from stages.cascade import OBJECTIVES, Cascade, decide
from stages.scores import Nobody, ScoreSet, named_in, with_nobody
from stages.simulate import FittedLimit
from stages.threshold import LastStage, fitted_before_last


def nobody_asked(context: typer.Context, options: opt.NobodyOptions) -> bool:
    """Whether the last stage is to be none; InputError for options that do not go together."""
    asked = [options.abstain, options.human] != [None, None]
    if None not in (options.abstain, options.human):
        raise InputError("--abstain leaves unanswered what --human answers: leave out one of them")
    if not asked:
        refuse(context, ("max_abstained",), "is of a last stage: give --abstain or --human too")
        return False
    why = "is for cascades that end with a model: leave it out, or --abstain and --human"
    refuse(context, {"calibrate", "runtimes"} & context.params.keys(), why)
    return True


def models_before(asked: bool, model_1: str | None, model_2: str | None) -> tuple[str, ...]:
    """A and B, or A alone before what is no model; InputError where one is missing."""
    if asked and model_2 is None:
        if model_1 is None:
            raise InputError("something runs before --abstain and --human: give -m1 A")
        return (model_1,)
    return required_pair(model_1, model_2)


def last_stage(
    store: Store, scores: ScoreSet, options: opt.NobodyOptions, costs: opt.CostOptions
) -> LastStage | None:
    """What --abstain or --human say, None of neither; a person's price is in the unit of the costs
    of the models of `scores`. InputError for what they cannot say."""
    if options.abstain is not None:
        return LastStage(Nobody.abstain(options.abstain), options.max_abstained)
    if options.human is None:
        return None
    accuracy, comma, price = options.human.partition(",")
    try:
        right = float(accuracy)
    except ValueError:
        right = -1.0
    if not comma or not 0 <= right <= 1:
        why = no_share(right) if comma and right > 1 else "give ACCURACY,COST, as 0.98,0.05"
        raise InputError(f"--human {options.human}: {why}")
    known = prices.pricer(store, scores, None, costs.cost, costs.cost_device)
    if known is None:
        if price.strip() != "0":
            raise InputError(
                f"--human {options.human}: no cost of these models is known, in whose unit a "
                "person's would be: run `cascade profile` or `cascade import-costs`, or give 0"
            )
        return LastStage(Nobody.human(right), options.max_abstained)
    cost = parse_cost(price, known.prices, "--human")
    return LastStage(Nobody.human(right, cost, known.prices.kind), options.max_abstained)


def decided_before_last(
    store: Store,
    scores: ScoreSet,
    decision: opt.DecisionOptions,
    wanted: opt.LogitsOptions,
    last: LastStage,
) -> tuple[ScoreSet, tuple[Cascade, FittedLimit]]:
    """The scores with the last stage's row, and the cascade of all their models before it, with its
    λ given, one a model by commas, or fitted, and how they came about."""
    name = score_asked(decision, scores)
    row = with_nobody(scores, last.nobody)
    if decision.objective not in OBJECTIVES:
        raise one_of("objective", decision.objective, OBJECTIVES)
    if named_in(store, name).needs_label:
        raise InputError(f"the oracle is right, or {last.nobody.name} is asked: choose a score")
    names, postcheck = row.models, decision.postcheck
    if decision.threshold is not None:
        if last.most is not None:
            raise InputError("--max-abstained caps a λ that is fitted: leave out it or -t")
        limits = [limit_in(each, name) for each in decision.threshold.split(",")]
        if len(limits) != len(scores.models):
            raise InputError(
                f"-t {decision.threshold}: give a λ for each of {', '.join(scores.models)}, "
                "separated by commas"
            )
        return row, (Cascade.of(names, name, *limits, postcheck=postcheck), FittedLimit())
    plan = fit_plan(store, scores, wanted, scores.models)
    say(*plan.notes)
    how = (last, name, postcheck, decision.objective)
    cascade, fitted = fitted_before_last(scores, plan, scores.models, *how)
    sent = float(decide(row, cascade).unanswered.mean())
    if last.most is not None and sent > last.most:
        say(f"note: on {scores.split} {sent:.1%} come to {last.nobody.name}, not {last.most:.6g}")
    return row, (cascade, fitted)
