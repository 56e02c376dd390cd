"""`margin`: does λ lie where float noise decides?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli.output import print_json, print_table, table_file, write_rows
from cascade_cli.prices import number

if TYPE_CHECKING:
    from cache import Store

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


def register(app: typer.Typer) -> None:
    app.command("margin", short_help="Count the images that lie within the noise of λ.")(margin)


def margin(
    context: typer.Context,
    model_1: opt.Model1 = None,
    model_2: opt.Model2 = None,
    scorefn: Annotated[
        str,
        typer.Option("-s", "--scorefn", help="Score: maxp, difference, entropy or a package's."),
    ] = "maxp",
    threshold: opt.Threshold = None,
    postcheck: opt.PostCheck = False,
    objective: opt.Objective = "best",
    runtimes: Annotated[
        str | None,
        typer.Option(
            "--runtimes",
            help="The runtime λ is for, and one to compare with, separated by a comma.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option("--noise", help="Noises to state. [default: 1e-6,1e-5,1e-4,1e-3,1e-2]"),
    ] = None,
    dataset: opt.CachedDataset = None,
    data: opt.Data = None,
    split: opt.Split = None,
    fit_split: opt.FitSplit = None,
    weights: opt.WeightsDir = None,
    output: opt.Output = None,
    for_spreadsheets: opt.ForSpreadsheets = False,
    cache: opt.Cache = None,
    as_json: opt.Json = False,
) -> None:
    """Count the images that lie within the noise of λ, where two runtimes may decide differently.

    \b
    cascade margin -m1 digits_wide -m2 digits_residual -s maxp --postcheck
    """
    from cache import InputError, Store
    from cascade_cli import asking, gather
    from stages import margins as stage

    table = table_file(output, for_spreadsheets)
    threshold = asking.threshold_or_fit(context, threshold)
    pair = asking.required_pair(model_1, model_2)
    store, images = Store(cache), gather.Images(data, weights)
    if asking.checked_score(store, scorefn) == "oracle":
        raise InputError("the oracle has no λ, so no margin: give maxp, difference or entropy")
    noises = stage.NOISES if noise is None else _noises(noise)
    dataset = asking.dataset_in(store, dataset, pair)
    split = gather.report_split(store, dataset, split)
    first, second = _runtimes(store, dataset, split, pair, asking.names(runtimes))
    here = gather.scores(store, dataset, split, pair, images, first)
    there = second and gather.scores(store, dataset, split, pair, images, second)
    rule = (scorefn, threshold, postcheck)
    cascade, fit = gather.decided(store, here, pair, rule, objective, fit_split, images, first)
    rows, changed = stage.run(store, here, there or None, cascade, noises)
    write_rows(rows, table)
    if as_json:
        head = {"dataset": dataset, "split": split, **{key: rows[0][key] for key in _HEAD}}
        print_json(head | fit | {"rows": rows, "changed": changed})
        return
    _show(rows, changed)


_HEAD = ("model_1", "model_2", "score", "postcheck", "threshold", "runtime", "runtime_2")


def _noises(text: str) -> list[float]:
    from cache import InputError
    from cascade_cli import asking

    try:
        found = [float(word) for word in asking.names(text) or ()]
    except ValueError as error:
        raise InputError(f"--noise {text!r}: give numbers separated by commas") from error
    if not all(0 <= value < float("inf") for value in found):
        raise InputError(f"--noise {text!r}: a noise is a distance, 0 or more")
    return found


def _runtimes(
    store: Store, dataset: str, split: str, pair: Sequence[str], asked: Sequence[str] | None
) -> tuple[str | None, str | None]:
    """(the runtime λ is for, the one to compare with); by default the only one there is."""
    from cache import InputError
    from stages.score import models_of

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
        f"λ = {number(row['threshold'])}{check}, {row['runtime']}"
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
