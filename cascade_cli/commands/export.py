"""`export`: a cascade to deploy, a wide table, or a copy of the cache to publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import typer

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_in, named_splits
from cascade_cli.inputs.fit import decided_cascade
from cascade_cli.inputs.flags import flag_of, is_given, memory_or_none, refuse, threshold_or_fit
from cascade_cli.inputs.models import check_cached_names
from cascade_cli.inputs.nobody import (
    decided_before_last,
    last_stage,
    models_before,
    nobody_asked,
)
from cascade_cli.inputs.policy import add_onnx, write_policy
from cascade_cli.inputs.scores import package_scores, reported_scores
from cascade_cli.inputs.words import names_in
from cascade_cli.show.costs import cost_interval, limit_text, without_hash
from cascade_cli.show.files import check_table, without_formulas, write_file
from cascade_cli.show.nobody import handed_on
from cascade_cli.show.text import print_json, print_table, print_text, progress
from stages import publish
from stages.policy import Fallback, PolicyPromise
from stages.publish import wide, writers
from stages.scores import ScoreSet

# What each of the three takes beside where it is read from.
MODES = {
    "policy": {
        *("model_1", "model_2", "scorefn", "threshold", "postcheck", "objective", "fit_split"),
        *("memory", "memory_size", "memory_radius", "memory_trust"),
        *("cost", "cost_device", "batch_size", "baseline", "data", "weights"),
        *("halves", "stratified", "onnx", "on_error", "timeout_ms"),
        *("abstain", "human", "max_abstained"),
    },
    "output": {
        *("models", "scorefn", "data", "weights", "for_spreadsheets", "halves", "stratified"),
    },
    "publish": {"models", "tier"},
}


# With --onnx alone, of a policy that is there.
_OF_A_FILE = {"onnx", "data", "weights"}

PUBLISHED_COLUMNS = {
    "model": "model",
    "split": "split",
    "variant": "variant",
    "runtime": "runtime",
    "images": "images",
    "accuracy": "top-1:.2%",
}


@dataclass(frozen=True)
class ExportOptions(opt.CommonOptions):
    """Where to: one of the three."""

    policy: str | None = opt.option(None, "Write the cascade A, B to this folder, to be deployed.")
    output: str | None = opt.option(None, "Write one row per image to this .csv or .parquet.", "-o")
    onnx: bool = opt.option(False, "With --policy: also as one ONNX file, for model servers.")
    on_error: str | None = opt.option(
        None, "With --policy: A, whose answer stands where B fails. [default: an error]"
    )
    timeout_ms: float | None = opt.option(None, "With --on-error: B fails that takes longer.")
    publish: str | None = opt.option(None, "Write a copy of the cache to publish to this folder.")
    tier: str = opt.option("scores", "What --publish copies: scores, top10 or full (logits, …).")


@opt.grouped(
    "policy onnx on_error timeout_ms output for_spreadsheets publish tier model_1 model_2 models "
    "dataset data scorefn threshold postcheck nobody memory memory_size memory_radius memory_trust "
    "objective split fit_split halves stratified weights runtime cost cost_device batch_size "
    "baseline cache as_json",
    models="For -o, --publish: names. [default: all]",
    split="Split. [default: test; for --publish all, else by commas]",
)
def export(
    context: typer.Context,
    to: ExportOptions,
    pair: opt.PairOptions,
    wanted: opt.LogitsOptions,
    decision: opt.DecisionOptions,
    memory: opt.MemoryOptions,
    costs: opt.CostOptions,
    nobody: opt.NobodyOptions,
) -> None:
    """Write a cascade to deploy (--policy), one wide table (-o), or a copy to publish (--publish).

    \b
    cascade export --policy policy -m1 digits_wide -m2 digits_residual --onnx
    cascade export -o wide.csv -d digits --split test
    cascade export --publish digits-scores -d digits --tier scores
    """
    mode = _mode(context)
    if mode == "output":
        check_table(to)
    decision = threshold_or_fit(context, decision)
    if mode == "policy" and decision.threshold is not None:  # and nothing is fitted
        wanted = replace(wanted, halves=None)
    memory_or_none(context, memory.memory)
    store = Store(to.cache)
    found: Any
    show: Callable[[Any], None]
    if to.onnx and pair == opt.PairOptions():
        refuse(
            context, sorted(MODES["policy"] - _OF_A_FILE), "is what the policy says: leave it out"
        )
        found = add_onnx(store, str(to.policy), wanted)
        print_json(found) if to.as_json else _show_promise(found)
        return
    ends = nobody_asked(context, nobody)
    models = models_before(ends, pair.model_1, pair.model_2) if mode == "policy" else None
    names = names_in(wanted.models) if models is None else None
    wanted = replace(wanted, dataset=dataset_in(store, wanted.dataset, models or names or ()))
    if models is not None:
        scores = reported_scores(store, wanted, models)
        last = last_stage(store, scores, nobody, costs)
        if last is not None:
            scores, decided = decided_before_last(store, scores, decision, wanted, last)
        else:
            decided = decided_cascade(store, scores, models, decision, wanted, costs.baseline)
        how = (memory, wanted, costs, str(to.policy))
        found = write_policy(store, scores, decided, *how, as_onnx=to.onnx, fallback=_fallback(to))
        show = _show_promise
    elif mode == "output":
        extra = package_scores(store, decision.scorefn)
        found, show = _wide(store, to, reported_scores(store, wanted, names), extra), _show_wide
    else:
        found, show = _publish(store, to, names, wanted), _show_published
    if to.as_json:
        print_json(found)
    else:
        show(found)


def _fallback(to: ExportOptions) -> Fallback | None:
    """What answers where B fails; InputError for what cannot."""
    if to.on_error is None:
        if to.timeout_ms is not None:
            raise InputError("--timeout-ms needs --on-error A: who is to answer then?")
        return None
    if to.on_error.upper() != "A":
        raise InputError(f"--on-error {to.on_error}: give A, whose answer stands then")
    if to.timeout_ms is not None and not 1e-3 <= to.timeout_ms <= 1e9:
        raise InputError(f"--timeout-ms {to.timeout_ms}: give milliseconds from 0.001 to 1e9")
    return Fallback(timeout_ms=to.timeout_ms)


def _mode(context: typer.Context) -> str:
    """Which of the three is asked for; InputError for flags that say nothing to it."""
    there = [mode for mode in MODES if context.params[mode] is not None]
    stated = [mode for mode in there if is_given(context, mode)] or there
    if len(stated) != 1:
        raise InputError("export what? give one of --policy DIR, -o FILE and --publish DIR")
    [mode] = stated
    for other, options in MODES.items():
        flags = [flag_of(context, name) for name in (other, mode)]
        why = "is for {}: leave it out with {}".format(*flags)
        refuse(context, sorted(options - MODES[mode]), why)
    return mode


def _show_promise(found: dict[str, Any]) -> None:
    policy = found["policy"]
    rule, promise = policy["rule"], PolicyPromise.of(policy["promise"])
    names = [model["name"] for model in policy["models"]]
    names += [policy["nobody"]["name"]] if "nobody" in policy else []
    print_text(_rule_text(rule, names))
    print(f"promised on {promise.images} images of {promise.dataset}/{promise.split}:")
    left = promise.left
    shares = {"accuracy": promise.accuracy, "use of B": promise.usage}
    if left is not None:
        worth = ("abstain_cost", "loss"), ("human_accuracy", "accuracy"), ("human_cost", "price")
        last = {name: policy["nobody"].get(key) for name, key in worth}
        unit = None if promise.price is None else promise.price.cost_unit
        print_text(handed_on(replace(left, **last), unit))
        shares = {"accuracy of those answered": left.answered_accuracy}
    for title, share in shares.items():
        if share is not None:
            print(f"  {title:<9} {share.value:.2%} ({share.low:.2%} to {share.high:.2%})")
    memory = promise.memory
    if promise.price is not None:
        print(f"  cost      {cost_interval(promise.price)}{without_hash(memory)}")
    elif memory is not None and memory.hash_reason:
        print(f"  cost      unknown: {memory.hash_reason}")
    for path in found["files"]:
        print(path)


def _rule_text(rule: Mapping[str, Any], names: list[str]) -> str:
    """Which models, by which score and λ, and whose answer stands."""
    if len(names) == 1:
        return f"{names[0]} alone"
    together = rule.get("members", 1)
    told = " → ".join([" + ".join(names[:together]), *names[together:]])
    limits = [limit_text(rule[key]) for key in ("threshold", "threshold_2") if key in rule]
    check = " with post-check" if rule["postcheck"] else ""
    check = " answered by the mean" if "final" in rule else check
    return f"{told} by {rule['score']}{check} at λ = {', '.join(limits)}"


def _wide(store: Store, to: ExportOptions, scores: ScoreSet, extra: list[str]) -> dict[str, Any]:
    """Write one row per image."""
    table = wide(store, scores, extra)
    path = str(to.output)
    if to.for_spreadsheets and path.endswith(".csv"):
        import polars as pl  # slow to import, and only for texts that are changed

        table = without_formulas(pl.DataFrame(table)).to_arrow()
    write_file(path, writers(table))
    head: dict[str, object] = {"output": path, "dataset": scores.dataset, "split": scores.split}
    head |= {"models": list(scores.models), **scores.cut}
    return head | {"rows": table.num_rows, "columns": table.column_names}


def _show_wide(found: dict[str, Any]) -> None:
    columns = len(found["columns"])
    print(f"{found['output']}: {found['rows']} rows of {columns} columns")


def _publish(
    store: Store, to: ExportOptions, models: list[str] | None, wanted: opt.LogitsOptions
) -> publish.PublishedCopy:
    """Write a copy of the cache."""
    dataset = str(wanted.dataset)
    splits = named_splits(dataset, wanted.split)
    check_cached_names(models or ())
    copied = publish.Wanted(dataset, to.tier, splits, models, wanted.runtime)
    with progress(f"publishing {dataset}") as tell:
        return publish.run(store, Store(str(to.publish)), copied, tell)


def _show_published(found: publish.PublishedCopy) -> None:
    print_table(found.models, PUBLISHED_COLUMNS)
    size = f"{found.size_bytes / 1e6:.1f} MB"
    print(f"{found.publish}: tier {found.tier}, {found.files} files, {size}")
    print(f"fill in licence and contact in {found.publish}/README.md")
