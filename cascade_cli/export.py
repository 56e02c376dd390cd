"""`export`: a cascade as a policy to deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import asking, prices, requests
from cascade_cli import options as opt
from cascade_cli.output import print_json
from cascade_cli.policies import How, simulated

if TYPE_CHECKING:
    from cache import Store


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    policy: Annotated[
        str | None,
        typer.Option("--policy", help="Write a cascade to this folder, to be deployed."),
    ] = None,
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    dataset: opt.Dataset = None,
    data: opt.Data = None,
    scorefn: opt.ScoreFn = "maxp",
    threshold: opt.Threshold = None,
    postcheck: opt.PostCheck = False,
    memory: requests.Memory = None,
    memory_size: requests.MemorySize = None,
    memory_radius: requests.MemoryRadius = 0,
    memory_trust: requests.MemoryTrust = None,
    objective: opt.Objective = "best",
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    weights: opt.WeightsDir = None,
    runtime: opt.Runtime = None,
    cost: prices.Cost = None,
    cost_device: prices.CostDevice = None,
    batch_size: prices.BatchSize = 1,
    baseline: prices.Baseline = None,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Write a cascade as policy.toml and one Python file that an application can use.

    \b
    cascade export --policy policy -m1 digits_wide -m2 digits_residual -s entropy
    """
    from cache import InputError, Store
    from cascade_cli.gather import Images

    if policy is None:
        raise InputError("export what? give --policy DIR with -m1 A and -m2 B")
    kept = requests.Asked(memory=memory, size=memory_size, radius=memory_radius, trust=memory_trust)
    asked = prices.Asked(cost, cost_device, batch_size, baseline)
    how = How(Images(data, weights), runtime, kept, asked)
    pair = asking.required_pair(model_1, model_2)
    dataset = asking.dataset_for(dataset, model_1)
    rule, fit = (scorefn, threshold, postcheck), (objective, fit_split)
    found = _policy(Store(cache), policy, pair, rule, fit, (dataset, split), how)
    if as_json:
        print_json(found)
        return
    _show_promise(found)
    for path in found["files"]:
        print(path)


def _policy(
    store: Store,
    folder: str,
    pair: tuple[str, str],
    rule: tuple[str, str | None, bool],
    fit: tuple[str, str | None],
    where: tuple[str, str | None],
    how: How,
) -> dict[str, Any]:
    """Decide as `simulate` does, and write it down."""
    from cascade_cli import gather
    from stages import policy as stage

    split = gather.report_split(store, *where)
    scores = gather.scores(store, where[0], split, pair, how.images, how.runtime)
    cascade, how_fitted = gather.decided(store, scores, pair, rule, *fit, how.images, how.runtime)
    stage.deployable(cascade)
    row = simulated(store, scores, cascade, how_fitted, how)
    found = stage.document(store, scores, cascade, row, how.memory.policy())
    return {"files": stage.write(folder, found), "policy": found}


def _show_promise(found: dict[str, Any]) -> None:
    policy = found["policy"]
    rule, promise = policy["rule"], policy["promise"]
    names = " → ".join(model["name"] for model in policy["models"])
    check = " with post-check" if rule["postcheck"] else ""
    print(f"{names} by {rule['score']}{check} at λ = {rule['threshold']}")
    print(f"promised on {promise['images']} images of {promise['dataset']}/{promise['split']}:")
    for key, title in (("accuracy", "accuracy"), ("usage", "use of B")):
        low, high = promise[f"{key}_low"], promise[f"{key}_high"]
        print(f"  {title:<9} {promise[key]:.2%} ({low:.2%} to {high:.2%})")
    if "cost" in promise:
        low, high = promise["cost_low"], promise["cost_high"]
        print(f"  cost      {promise['cost']:.5g} {promise['cost_unit']} ({low:.5g} to {high:.5g})")
