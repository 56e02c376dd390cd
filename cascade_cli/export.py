"""`export`: a cascade to deploy, a wide table, or a copy of the cache to publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import asking, prices, requests
from cascade_cli import options as opt
from cascade_cli.output import (
    TableFile,
    print_json,
    print_table,
    progress,
    table_file,
    without_formulas,
    write_file,
)
from cascade_cli.policies import How, deploy

if TYPE_CHECKING:
    from cache import Store


# What each of the three takes beside where it is read from.
MODES = {
    "policy": {
        *("model_1", "model_2", "scorefn", "threshold", "postcheck", "objective", "fit_split"),
        *("memory", "memory_size", "memory_radius", "memory_trust"),
        *("cost", "cost_device", "batch_size", "baseline", "data", "weights"),
    },
    "output": {"models", "scorefn", "data", "weights", "for_spreadsheets"},
    "publish": {"models", "tier"},
}
PUBLISHED_COLUMNS = {
    "model": "model",
    "split": "split",
    "variant": "variant",
    "runtime": "runtime",
    "images": "images",
    "accuracy": "top-1:.2%",
}


def register(app: typer.Typer) -> None:
    told = "Write a policy to deploy, a table, or a cache to publish."
    app.command("export", short_help=told)(export)


def export(
    context: typer.Context,
    policy: Annotated[
        str | None,
        typer.Option("--policy", help="Write the cascade A, B to this folder, to be deployed."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Write one row per image to this .csv or .parquet."),
    ] = None,
    for_spreadsheets: opt.ForSpreadsheets = False,
    publish: Annotated[
        str | None,
        typer.Option("--publish", help="Write a copy of the cache to publish to this folder."),
    ] = None,
    tier: Annotated[
        str, typer.Option("--tier", help="What --publish copies: scores, top10 or full (logits).")
    ] = "scores",
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    models: Annotated[
        str | None, typer.Option("--models", help="For -o, --publish: names. [default: all]")
    ] = None,
    dataset: opt.CachedDataset = None,
    data: opt.Data = None,
    scorefn: opt.ScoreFn = "maxp",
    threshold: opt.Threshold = None,
    postcheck: opt.PostCheck = False,
    memory: requests.Memory = None,
    memory_size: requests.MemorySize = None,
    memory_radius: requests.MemoryRadius = 0,
    memory_trust: requests.MemoryTrust = None,
    objective: opt.Objective = "best",
    split: Annotated[
        str | None,
        typer.Option("--split", help="Split. [default: test; for --publish all, else by commas]"),
    ] = None,
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
    """Write a cascade to deploy (--policy), one wide table (-o), or a copy to publish (--publish).

    \b
    cascade export --policy policy -m1 digits_wide -m2 digits_residual -s entropy
    cascade export -o wide.csv -d digits --split test
    cascade export --publish digits-scores -d digits --tier scores
    """
    from cache import Store
    from cascade_cli.gather import Images

    mode = _mode(context)
    table = table_file(output, for_spreadsheets) if mode == "output" else None
    threshold = asking.threshold_or_fit(context, threshold)
    requests.memory_or_none(context, memory)
    kept = requests.Asked(memory=memory, size=memory_size, radius=memory_radius, trust=memory_trust)
    asked = prices.Asked(cost, cost_device, batch_size, baseline)
    how = How(Images(data, weights), runtime, kept, asked)
    pair = asking.required_pair(model_1, model_2) if mode == "policy" else None
    names = asking.names(models) if pair is None else None
    store = Store(cache)
    where = (asking.dataset_in(store, dataset, pair or names or ()), split)
    if pair is not None:
        rule, fit = (scorefn, threshold, postcheck), (objective, fit_split)
        found, show = _policy(store, str(policy), pair, rule, fit, where, how), _show_promise
    elif table is not None:
        extra = asking.package_scores(store, scorefn)
        found, show = _wide(store, table, names, where, how, extra), _show_wide
    else:
        found, show = _publish(store, str(publish), tier, names, where, how), _show_published
    if as_json:
        print_json(found)
    else:
        show(found)


def _mode(context: typer.Context) -> str:
    """Which of the three is asked for; InputError for flags that say nothing to it."""
    from cache import InputError

    there = [mode for mode in MODES if context.params[mode] is not None]
    stated = [mode for mode in there if asking.given(context, mode)] or there
    if len(stated) != 1:
        raise InputError("export what? give one of --policy DIR, -o FILE and --publish DIR")
    [mode] = stated
    for other, options in MODES.items():
        flags = [asking.flag(context, name) for name in (other, mode)]
        why = "is for {}: leave it out with {}".format(*flags)
        asking.refuse(context, sorted(options - MODES[mode]), why)
    return mode


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

    split = gather.report_split(store, *where)
    scores = gather.scores(store, where[0], split, pair, how.images, how.runtime)
    baseline = how.costs.baseline
    references = scores if baseline is None else prices.with_references(store, scores)
    alone = prices.right(references, baseline)
    cascade, how_fitted = gather.decided(
        store, scores, pair, rule, *fit, how.images, how.runtime, alone
    )
    return deploy(store, scores, cascade, how_fitted, how, folder)


def _show_promise(found: dict[str, Any]) -> None:
    policy = found["policy"]
    rule, promise = policy["rule"], policy["promise"]
    names = " → ".join(model["name"] for model in policy["models"])
    check = " with post-check" if rule["postcheck"] else ""
    print(f"{names} by {rule['score']}{check} at λ = {prices.number(rule['threshold'])}")
    print(f"promised on {promise['images']} images of {promise['dataset']}/{promise['split']}:")
    for key, title in (("accuracy", "accuracy"), ("usage", "use of B")):
        low, high = promise[f"{key}_low"], promise[f"{key}_high"]
        print(f"  {title:<9} {promise[key]:.2%} ({low:.2%} to {high:.2%})")
    if "cost" in promise:
        print(f"  cost      {prices.interval(promise)}{prices.without_hash(promise)}")
    elif "hash_reason" in promise:
        print(f"  cost      unknown: {promise['hash_reason']}")
    for path in found["files"]:
        print(path)


def _wide(
    store: Store,
    to: TableFile,
    models: list[str] | None,
    where: tuple[str, str | None],
    how: How,
    extra: list[str],
) -> dict[str, Any]:
    import polars as pl

    from cascade_cli import gather
    from stages import wide as stage

    split = gather.report_split(store, *where)
    scores = gather.scores(store, where[0], split, models, how.images, how.runtime)
    table = stage.wide(store, scores, extra)
    if to.for_spreadsheets:
        table = without_formulas(pl.DataFrame(table)).to_arrow()
    write_file(to.path, stage.writers(table))
    head = {"output": to.path, "dataset": where[0], "split": split, "models": list(scores.models)}
    return head | {"rows": table.num_rows, "columns": table.column_names}


def _show_wide(found: dict[str, Any]) -> None:
    columns = len(found["columns"])
    print(f"{found['output']}: {found['rows']} rows of {columns} columns")


def _publish(
    store: Store,
    place: str,
    tier: str,
    models: list[str] | None,
    where: tuple[str, str | None],
    how: How,
) -> dict[str, Any]:
    from cache import Store as Target
    from cascade_cli import gather
    from stages import publish as stage

    splits = gather.named_splits(*where)
    asking.check_cached_names(models or ())
    wanted = stage.Wanted(where[0], tier, splits, models, how.runtime)
    with progress(f"publishing {where[0]}") as tell:
        return stage.run(store, Target(place), wanted, tell)


def _show_published(found: dict[str, Any]) -> None:
    print_table(found["models"], PUBLISHED_COLUMNS)
    size = f"{found['size_bytes'] / 1e6:.1f} MB"
    print(f"{found['publish']}: tier {found['tier']}, {found['files']} files, {size}")
    print(f"fill in licence and contact in {found['publish']}/README.md")
