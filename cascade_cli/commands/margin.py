"""`margin`: does λ lie where float noise decides?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_in
from cascade_cli.inputs.fit import decided_cascade
from cascade_cli.inputs.flags import threshold_or_fit
from cascade_cli.inputs.models import required_pair
from cascade_cli.inputs.score_names import checked_score
from cascade_cli.inputs.scores import report_split, score_set
from cascade_cli.inputs.words import names_in, noises_in
from cascade_cli.show.costs import limit_text
from cascade_cli.show.files import check_table, write_rows
from cascade_cli.show.text import print_json, print_table
from stages import threshold as stage
from stages.scores import models_of

COLUMNS = {
    "comparison": "comparison",
    "noise": "noise:.3g",
    "noise_is": "noise is",
    "near": "images within it",
    "near_share": "of all:.2%",
    "n": "compared",
    "gap": "nearest:.2g",
}


MOVED = {
    "comparison": "scores moved by",
    "moved_p50": "median:.2g",
    "moved_p90": "90 %:.2g",
    "moved_p99": "99 %:.2g",
    "moved_p100": "most:.2g",
    "flips": "decided differently",
}


@dataclass(frozen=True)
class OwnDecisionOptions(opt.DecisionOptions):
    """By a score that has a λ."""

    scorefn: Annotated[
        str,
        typer.Option("-s", "--scorefn", help="Score: maxp, difference, entropy or a package's."),
    ] = "maxp"


@dataclass(frozen=True)
class RuntimesOptions(opt.LogitsOptions):
    """In one runtime or two, or with a noise that is stated."""

    runtime: str | None = None
    runtimes: Annotated[
        str | None,
        typer.Option(
            "--runtimes",
            help="The runtime λ is for, and one to compare with, separated by a comma.",
        ),
    ] = None
    noise: Annotated[
        str | None,
        typer.Option("--noise", help="Noises to state. [default: 1e-6,1e-5,1e-4,1e-3,1e-2]"),
    ] = None


@opt.grouped(
    "model_1 model_2 scorefn threshold postcheck objective runtimes noise dataset data split "
    "fit_split weights output for_spreadsheets cache as_json"
)
def margin(
    context: typer.Context,
    pair: opt.PairOptions,
    decision: OwnDecisionOptions,
    wanted: RuntimesOptions,
    output: opt.OutputOptions,
    common: opt.CommonOptions,
) -> None:
    """Count the images that lie within the noise of λ, where two runtimes may decide differently.

    \b
    cascade margin -m1 digits_wide -m2 digits_residual -s maxp --postcheck
    """
    check_table(output)
    decision = threshold_or_fit(context, decision)
    models, store = required_pair(pair.model_1, pair.model_2), Store(common.cache)
    if checked_score(store, decision.scorefn) == "oracle":
        raise InputError("the oracle has no λ, so no margin: give maxp, difference or entropy")
    noises = stage.NOISES if wanted.noise is None else noises_in(wanted.noise)
    dataset = dataset_in(store, wanted.dataset, models)
    split = report_split(store, dataset, wanted.split)
    first, second = _runtimes(store, dataset, split, models, names_in(wanted.runtimes))
    wanted = replace(wanted, runtime=first)
    here = score_set(store, dataset, split, models, wanted)
    there = second and score_set(store, dataset, split, models, replace(wanted, runtime=second))
    cascade, fit = decided_cascade(store, here, models, decision, wanted)
    rows, changed = stage.near_threshold(store, here, there or None, cascade, noises)
    write_rows(rows, output)
    if common.as_json:
        head = {"dataset": dataset, "split": split, **{key: rows[0][key] for key in _HEAD}}
        print_json(head | fit | {"rows": rows, "changed": changed})
        return
    _show(rows, changed)


_HEAD = ("model_1", "model_2", "score", "postcheck", "threshold", "runtime", "runtime_2")


def _runtimes(
    store: Store, dataset: str, split: str, pair: Sequence[str], asked: Sequence[str] | None
) -> tuple[str | None, str | None]:
    """(the runtime λ is for, the one to compare with); by default the only one there is."""
    if asked is None:
        there = models_of(store, dataset, split)
        found = [{m.partition.keys["runtime"] for m in there.get(model, ())} for model in pair]
        both = sorted(found[0] & found[1])
        if len(both) > 1:
            raise InputError(
                f"the cache has several runtimes of {' and '.join(pair)}: name the one λ is for, "
                f"and one to compare with, as in --runtimes {','.join(both[:2])}"
            )
        return (both[0] if both else None), None
    if len(asked) > 2 or len(set(asked)) < len(asked):
        raise InputError(f"--runtimes {','.join(asked)}: give one, or two different ones")
    return asked[0], asked[1] if len(asked) > 1 else None


def _show(rows: list[dict[str, Any]], changed: dict[str, Any] | None) -> None:
    row = rows[0]
    check = ", post-check" if row["postcheck"] else ""
    print(
        f"{row['model_1']} → {row['model_2']}, {row['score']} at "
        f"λ = {limit_text(row['threshold'])}{check}, {row['runtime']}"
    )
    print_table(rows, COLUMNS)
    if changed is None:
        print("one runtime: the noise is stated, not measured (two are compared by --runtimes)")
        return
    once = {row["comparison"]: row for row in rows}
    print_table(list(once.values()), MOVED)
    print(
        f"in {row['runtime_2']}: {changed['decisions_changed']} of {changed['n']} images go "
        f"another way, {changed['answers_changed']} answers differ, accuracy "
        f"{100 * changed['accuracy_change']:+.2f} points"
    )
