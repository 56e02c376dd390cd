"""`simulate`: what one cascade would answer, cost and remember."""

from __future__ import annotations

from dataclasses import replace

import typer

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_in
from cascade_cli.inputs.fit import calibrated_decision, decided_cascade
from cascade_cli.inputs.flags import is_given, memory_or_none, refuse, threshold_or_fit
from cascade_cli.inputs.models import cached_names, choose_models
from cascade_cli.inputs.nobody import (
    decided_before_last,
    last_stage,
    models_before,
    nobody_asked,
)
from cascade_cli.inputs.policy import (
    memory_of,
    of_policy,
    policy_split,
    promised_images,
)
from cascade_cli.inputs.provenance import same_weights
from cascade_cli.inputs.scores import report_split, score_set
from cascade_cli.inputs.simulation import simulated
from cascade_cli.inputs.words import names_in
from cascade_cli.show.fit import calibrated_by
from cascade_cli.show.simulation import print_simulation
from cascade_cli.show.text import print_json
from stages.calibration import own_limit
from stages.cascade import Cascade
from stages.policy import Deployment, read
from stages.scores import ScoreSet, with_nobody
from stages.simulate import between_runtimes, coverage_of


@opt.grouped(
    "policy model_1 model_2 dataset data scorefn calibrate threshold postcheck nobody requests "
    "objective split fit_split halves stratified weights preprocess runtime runtimes costs cache "
    "as_json"
)
def simulate(
    context: typer.Context,
    pair: opt.PairOptions,
    wanted: opt.RequestedOptions,
    decision: opt.DecisionOptions,
    requests: opt.MemoryOptions,
    costs: opt.CostOptions,
    nobody: opt.NobodyOptions,
    common: opt.CommonOptions,
    runtimes: str | None = opt.option(None, "The runtime λ is for, and one to compare with: A,B."),
    policy: str | None = opt.option(None, "The cascade that `export` or `search` wrote there."),
) -> None:
    """What a cascade answers and costs, request by request, at a given or fitted λ.

    \b
    cascade simulate -m1 digits_wide -m2 digits_residual -s entropy -t 0.4 --postcheck
    """
    if policy is not None:
        _of_policy(context, read(policy), wanted, requests, costs, common)
        return
    decision = threshold_or_fit(context, decision)
    if decision.threshold is not None and decision.calibrate is None:  # nothing is fitted
        wanted = replace(wanted, halves=None)
    memory_or_none(context, requests.memory)
    store = Store(common.cache)
    named, aliases = cached_names(pair.model_1, pair.model_2)
    wanted = replace(wanted, aliases=aliases)
    first, second = _runtimes(context, wanted.runtime, runtimes)
    wanted = replace(wanted, runtime=first)
    models = models_before(nobody_asked(context, nobody), *named)
    dataset = dataset_in(store, wanted.dataset, (pair.model_1, pair.model_2))
    split = report_split(store, dataset, wanted.split)
    scores = score_set(store, dataset, split, models, wanted)
    if aliases:
        told = [alias.partition("=")[0] for alias in aliases]
        same_weights(store, scores, dataset, choose_models(store, dataset, told, [], wanted))
    fitted, last = None, last_stage(store, scores, nobody, costs)
    if decision.calibrate is not None and last is None:
        if requests.repeats or second is not None:
            raise InputError(
                "--calibrate is for each image once, in one runtime: leave out the rest"
            )
        scores, decision, fitted = calibrated_decision(store, scores, models, decision, wanted)
    if last is not None:
        scores, decided = decided_before_last(store, scores, decision, wanted, last)
    else:
        decided = decided_cascade(store, scores, models, decision, wanted, costs.baseline, fitted)
    own = None if fitted is None else own_limit(fitted.scores, decided[0])
    row, name = simulated(store, scores, decided, requests, wanted, costs)
    moved, curve = None, _curve(scores, decided[0])
    if second is not None and last is None:
        there = score_set(store, dataset, split, models, replace(wanted, runtime=second))
        moved = between_runtimes(scores, there, decided[0])
    if common.as_json:
        asked = {"stream": name} | requests.described() | {"runtimes": moved} | curve
        asked |= {} if fitted is None else calibrated_by(decision.calibrate, fitted)
        asked |= {} if own is None else {"own_threshold": own.threshold}
        print_json({"dataset": dataset} | row.columns() | scores.cut | asked)
        return
    print_simulation(row, name, moved, own)


# What a policy says itself.
_SAID = (
    *("model_1", "model_2", "weights_1", "weights_2", "scorefn", "threshold", "postcheck"),
    *("objective", "fit_split", "halves", "stratified", "calibrate", "runtimes"),
    *("memory", "memory_size", "memory_radius", "memory_trust"),
    *("abstain", "human", "max_abstained"),
)


def _of_policy(
    context: typer.Context,
    deployed: Deployment,
    wanted: opt.RequestedOptions,
    requests: opt.MemoryOptions,
    costs: opt.CostOptions,
    common: opt.CommonOptions,
) -> None:
    """What the cascade of a policy answers, of any number of models."""
    there = [name for name in _SAID if name in context.params]
    refuse(context, there, f"is what {deployed.where} says: leave it out")
    requests, store = memory_of(deployed, requests), Store(common.cache)
    images, cascade = of_policy(deployed, replace(wanted, halves=None)), deployed.cascade
    dataset, split = policy_split(store, deployed, wanted)
    scores = score_set(store, dataset, split, cascade.models_that_run, images, alone=True)
    scores, fit = promised_images(store, deployed, scores)
    scores = with_nobody(scores, deployed.nobody)
    row, name = simulated(store, scores, (cascade, fit), requests, images, costs)
    if common.as_json:
        asked = {"policy": deployed.where, "stream": name} | requests.described()
        asked |= _curve(scores, cascade)
        print_json({"dataset": dataset} | row.columns() | asked)
        return
    print_simulation(row, name, None, how="of the policy")


def _curve(scores: ScoreSet, cascade: Cascade) -> dict[str, object]:
    """The risk–coverage curve before a last stage that is no model."""
    if cascade.nobody is None:
        return {}
    return {"risk_coverage": coverage_of(scores, cascade).thinned()}


def _runtimes(
    context: typer.Context, runtime: str | None, runtimes: str | None
) -> tuple[str | None, str | None]:
    """(the runtime λ is for, the one to compare with, if any); a flag outranks a configured one."""
    given = [is_given(context, name) for name in ("runtime", "runtimes")]
    if runtimes is None or given == [True, False]:
        return runtime, None
    if all(given):
        raise InputError("--runtimes names the one λ is for first: leave out --runtime")
    names = names_in(runtimes) or []
    if len(set(names)) != 2 or len(names) != 2:
        raise InputError(f"--runtimes {runtimes}: give two different ones, as A,B")
    return names[0], names[1]
