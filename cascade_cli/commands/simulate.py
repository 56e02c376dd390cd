"""`simulate`: what one cascade would answer, cost and remember."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_in
from cascade_cli.inputs.fit import decided_cascade
from cascade_cli.inputs.flags import is_given, memory_or_none, threshold_or_fit
from cascade_cli.inputs.models import cached_names, required_pair
from cascade_cli.inputs.provenance import same_weights
from cascade_cli.inputs.scores import report_split, score_set
from cascade_cli.inputs.simulation import simulated
from cascade_cli.inputs.words import names_in
from cascade_cli.show.simulation import print_simulation
from cascade_cli.show.text import print_json
from stages.simulate import between_runtimes


@dataclass(frozen=True)
class SimulatedOptions(opt.LogitsOptions):
    """Of models that may come from a file, in one runtime or held against another."""

    dataset: opt.DatasetLong = None
    preprocess: opt.Preprocess = None
    runtimes: Annotated[
        str | None,
        typer.Option("--runtimes", help="The runtime λ is for, and one to compare with: A,B."),
    ] = None


@opt.grouped(
    "model_1 model_2 dataset data scorefn threshold postcheck memory duplicates rotations order "
    "seed stream memory_size memory_radius memory_trust objective split fit_split weights "
    "preprocess runtime runtimes cost cost_device batch_size baseline arrival_rate with_preprocess "
    "cache as_json"
)
def simulate(
    context: typer.Context,
    pair: opt.PairOptions,
    wanted: SimulatedOptions,
    decision: opt.DecisionOptions,
    stream: opt.StreamOptions,
    costs: opt.RequestCostOptions,
    common: opt.CommonOptions,
) -> None:
    """What a cascade answers and costs, request by request, at a given or fitted λ.

    \b
    cascade simulate -m1 digits_wide -m2 digits_residual -s entropy -t 0.4 --postcheck
    """
    decision = threshold_or_fit(context, decision)
    memory_or_none(context, stream.memory)
    store = Store(common.cache)
    named, aliases = cached_names(pair.model_1, pair.model_2)
    wanted = replace(wanted, aliases=aliases)
    first, second = _runtimes(context, wanted)
    wanted = replace(wanted, runtime=first)
    models = required_pair(*named)
    dataset = dataset_in(store, wanted.dataset, (pair.model_1, pair.model_2))
    split = report_split(store, dataset, wanted.split)
    scores = score_set(store, dataset, split, models, wanted)
    if aliases:
        told = [alias.partition("=")[0] for alias in aliases]
        same_weights(store, scores, dataset, told, wanted)
    decided = decided_cascade(store, scores, models, decision, wanted, costs.baseline)
    row, name = simulated(store, scores, decided, stream, wanted, costs)
    moved = None
    if second is not None:
        there = score_set(store, dataset, split, models, replace(wanted, runtime=second))
        moved = between_runtimes(scores, there, decided[0])
    if common.as_json:
        asked = {"stream": name} | stream.described() | {"runtimes": moved}
        print_json({"dataset": dataset} | row.columns() | asked)
        return
    print_simulation(row, name, moved)


def _runtimes(context: typer.Context, wanted: SimulatedOptions) -> tuple[str | None, str | None]:
    """(the runtime λ is for, the one to compare with, if any); a flag outranks a configured one."""
    given = [is_given(context, name) for name in ("runtime", "runtimes")]
    if wanted.runtimes is None or given == [True, False]:
        return wanted.runtime, None
    if all(given):
        raise InputError("--runtimes names the one λ is for first: leave out --runtime")
    names = names_in(wanted.runtimes) or []
    if len(set(names)) != 2 or len(names) != 2:
        raise InputError(f"--runtimes {wanted.runtimes}: give two different ones, as A,B")
    return names[0], names[1]
