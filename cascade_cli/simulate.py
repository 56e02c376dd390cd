"""`simulate`: what one cascade would answer, cost and remember."""

from __future__ import annotations

from typing import Any

import typer

from cascade_cli import options as opt
from cascade_cli import prices, requests
from cascade_cli.gather import decided_by_folds
from cascade_cli.output import print_json, print_text
from cascade_cli.prices import number

SIMULATION = (
    ("accuracy", "accuracy", ".2%"),
    ("usage", "use of B", ".2%"),
    ("escalated", "requests sent to B", "d"),
    ("took_b", "answered by B", "d"),
    ("accuracy_1", "A alone", ".2%"),
    ("accuracy_2", "B alone", ".2%"),
    ("hits", "answered from memory", "d"),
    ("false_hits", "of another image's answer", "d"),
    ("duplicate_recall", "repeats recognised", ".2%"),
    ("accuracy_without_memory", "accuracy without it", ".2%"),
    ("memory_bytes", "memory in bytes", ",d"),
    ("break_even_rate", "hits that pay for hashing", ".2%"),
)
_OF_MEMORY = ("hits", "false_hits")
_WITH_ENDS = ("accuracy", "usage")
MACS = "multiply-adds per request"


def register(app: typer.Typer) -> None:
    told = "What a cascade answers and costs, request by request."
    app.command("simulate", short_help=told)(simulate)


def simulate(
    context: typer.Context,
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    dataset: opt.DatasetLong = None,
    data: opt.Data = None,
    scorefn: opt.ScoreFn = "maxp",
    threshold: opt.Threshold = None,
    postcheck: opt.PostCheck = False,
    memory: requests.Memory = None,
    duplicates: requests.Duplicates = 0.0,
    rotations: requests.Rotations = 0.0,
    order: requests.Order = "appended",
    seed: requests.Seed = 0,
    stream: requests.StreamFile = None,
    memory_size: requests.MemorySize = None,
    memory_radius: requests.MemoryRadius = 0,
    memory_trust: requests.MemoryTrust = None,
    objective: opt.Objective = "best",
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    weights: opt.WeightsDir = None,
    preprocess: opt.Preprocess = None,
    runtime: opt.Runtime = None,
    cost: prices.Cost = None,
    cost_device: prices.CostDevice = None,
    batch_size: prices.BatchSize = 1,
    baseline: prices.Baseline = None,
    arrival_rate: prices.ArrivalRate = None,
    with_preprocess: prices.WithPreprocess = False,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """What a cascade answers and costs, request by request, at a given or fitted λ.

    \b
    cascade simulate -m1 digits_wide -m2 digits_residual -s entropy -t 0.4 --postcheck
    """
    from cache import Store
    from cascade_cli import asking, gather
    from stages import simulate as stage

    threshold = asking.threshold_or_fit(context, threshold)
    requests.memory_or_none(context, memory)
    store = Store(cache)
    named, aliases = asking.by_name(model_1, model_2)
    images = gather.Images(data, weights, aliases=aliases, preprocess=preprocess)
    pair = asking.required_pair(*named)
    dataset = asking.dataset_in(store, dataset, (model_1, model_2))
    split = gather.report_split(store, dataset, split)
    scores = gather.scores(store, dataset, split, pair, images, runtime)
    if aliases:
        told = [alias.partition("=")[0] for alias in aliases]
        gather.same_weights(store, scores, dataset, told, images)
    asked = prices.Asked(cost, cost_device, batch_size, baseline, arrival_rate, with_preprocess)
    everyone = prices.with_references(store, scores)
    rule, alone = (scorefn, threshold, postcheck), prices.right(everyone, baseline)
    cascade, fit = gather.decided(
        store, scores, pair, rule, objective, fit_split, images, runtime, alone
    )
    wanted = requests.Asked(
        duplicates, rotations, order, seed, stream, memory, memory_size, memory_radius, memory_trust
    )
    policy = wanted.policy()
    shown, made, name = requests.streamed(store, scores, pair, wanted, images, runtime)
    everyone = requests.references(everyone, shown, made)
    recall = requests.recall(store, shown, made, policy, batch_size, images)
    pricer = requests.with_hash(
        prices.of_cascades(store, everyone, pair, asked), store, scores, policy
    )
    row = stage.run(store, shown, cascade, fit, pricer, recall, {"stream": name})
    row = {"dataset": dataset} | row | {"stream": name} | wanted.about()
    if as_json:
        print_json(row)
        return
    print_simulation(row)


def print_simulation(row: dict[str, Any]) -> None:
    """The cascade and its figures, one a line, and which images tell them."""
    from stages.amounts import figure

    check = " with post-check" if row["postcheck"] else ""
    how = f"fitted on {row['fit_split']}" if row["fit_split"] else "given"
    limit = "" if row["score"] == "oracle" else f" at λ = {number(row['threshold'])} ({how})"
    print(f"{row['model_1']} → {row['model_2']}, {row['score']}{limit}{check}")
    print(f"{row['split']}: {row['n']} {'requests' if row['stream'] else 'images'}")
    for key, title, style in SIMULATION:
        if row.get(key) is not None and (row["memory"] or key not in _OF_MEMORY):
            print(f"  {title:<26} {row[key]:{style}}{_ends(row, key, style)}")
    if row["macs_per_request"] is not None and row["cost_kind"] != "macs":
        after = " without hashing" if row["memory"] else ""
        print(f"  {MACS:<26} {figure(row['macs_per_request'], 'multiply-adds')}{after}")
    prices.show(row)
    if row["fit_method"] == "cross-fit":
        print_text(decided_by_folds(row["fit_n"]))


def _ends(row: dict[str, Any], key: str, style: str) -> str:
    """The ends of a figure's interval, where it has one."""
    if key not in _WITH_ENDS:
        return ""
    low, high = (f"{row[f'{key}_{end}']:{style}}" for end in ("low", "high"))
    return f" ({low} to {high})"
