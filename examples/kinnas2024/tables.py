"""What is printed: per setting what is published beside ours, then what is not there."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from examples.kinnas2024.published import ENERGY_NOTES, REFERENCE, TITLE
from stages.costs import relative
from stages.notices import visible
from stages.threshold import REPEATS

Row = dict[str, Any]

WEIGHTS = {True: "published", False: "others", None: "unknown"}
_NUMBER = re.compile(r"–|[\d.]+%?")


def show(rows: Sequence[Row], missing: Sequence[Row]) -> None:
    print(f"{TITLE} ({REFERENCE})")
    for row in rows:
        _setting(row)
    if missing:
        print("\nnot there, and what makes it:")
    for row in missing:
        print(f"  {row['setting']}: {row['what']}\n    {row['command'] or 'no command makes it'}")


def _setting(row: Row) -> None:
    check = " with post-check" if row["postcheck"] else ""
    print(
        f"\n{row['model_1']} → {row['model_2']} on {row['dataset']}/{row['split']} "
        f"({row['n']} images), {row['score']}{check}\n  {row['note']}\n  {row['source']}\n"
    )
    singles = ("model", "published", "ours", "from", "to", "weights")
    _table(singles, map(_single_model, row["single_models"]))
    print()
    _thresholds(row)
    print()
    pair = ("of the pair", "published", "ours", "rank", "of pairs")
    _table(pair, ((each["metric"], "–", *_measure(**each["ours"])) for each in row["pair"]))
    print()
    _memory(row)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns of numbers stand to the right."""
    columns = [_aligned([*map(visible, each)]) for each in zip(heads, *rows, strict=True)]
    for line in zip(*columns, strict=True):
        print("  ".join(line).rstrip())


def _aligned(cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells))
    right = all(map(_NUMBER.fullmatch, cells[1:]))
    return [cell.rjust(width) if right else cell.ljust(width) for cell in cells]


def _percent(share: float | None, decimals: int = 2) -> str:
    return "–" if share is None else f"{share:.{decimals}%}"


def _accuracy(row: Row) -> list[str]:
    return [_percent(row[f"accuracy{end}"]) for end in ("", "_low", "_high")]


def _single_model(row: Row) -> list[str]:
    published = row["published"] and row["published"]["accuracy"]
    weights = WEIGHTS[row["same_weights"]]
    return [row["model"], _percent(published), *_accuracy(row["ours"]), weights]


def _measure(value: float, rank: int, pairs: int) -> list[str]:
    return [f"{value:.4f}", str(rank), str(pairs)]


def _thresholds(row: Row) -> None:
    rivals = {row["model_2"]: "against_second", row["single"]: "against_single"}
    if row["cost"] is None:
        rivals = {}
    heads = ["λ by", "fitted on", "λ", "accuracy", "from", "to", "use of B"]
    lines = [
        [*_threshold(each), *(_compared(each["ours"][key]) for key in rivals.values())]
        for each in row["thresholds"]
    ]
    _table([*heads, *(f"against {model}" for model in rivals)], lines)
    if any(each["ours"]["fit_method"] == "cross-fit" for each in row["thresholds"]):
        folds = (
            f"Accuracy and its change are those of folds decided by the λ of the others, {REPEATS} "
            f"times over; use of B and cost are those of this λ on all {row['n']:,} images."
        )
        print(textwrap.fill(folds, 100))
    if row["cost"] is not None:
        unit, why = row["cost"]["cost_unit"], row["cost"]["cost_why"]
        print(f"against a model: the cost, in {unit} per request ({why}), and points of accuracy")


def _threshold(row: Row) -> list[str]:
    ours, limit = row["ours"], row["ours"]["threshold"]
    by = {"grid": "the paper's grid", "exact": f"exact, {ours['objective']}"}.get(row["by"])
    unit = ", in nats" if row["unit"] == "nats" else ""
    fitted = f"{ours['fit_split']} ({ours['fit_method']})" if ours["fit_split"] else "–"
    shown = limit if isinstance(limit, str) else f"{limit:.4f}"  # else always or never
    usage = _percent(ours["usage"], 1)
    return [by or f"published{unit}", fitted, shown, *_accuracy(ours), usage]


def _compared(against: Row) -> str:
    """What is saved, and the points of accuracy gained."""
    return f"{relative(against['saved'])}, {100 * against['accuracy_change']:+.2f}"


def _memory(row: Row) -> None:
    known = [each for each in row["memory"] if each["published"] or each["ours"]]
    theirs = ["published", "of their large CNN"] if known[0]["published"] else []
    costs = [f"ours, of {row['single']}"] if row["cost"] else []
    heads = ["run", "duplicates", *theirs, *costs, "CNN runs avoided", "false hits", "accuracy"]
    _table(heads, (_run(each, bool(costs)) for each in known))
    if theirs:
        print(f"published: {known[0]['source']}")
        _reduction(**row["reduction"])
        print(*(f"  {note}" for note in ENERGY_NOTES), sep="\n")


def _run(row: Row, priced: bool) -> list[str]:
    cells, published = [row["memory"], _percent(row["duplicates"], 0)], row["published"]
    if published:
        cells += [f"{published['energy']} {published['unit']}", _percent(published["of_single"], 1)]
    ours = row["ours"] or dict.fromkeys(("of_single", "runs_avoided", "accuracy"))
    cells += [_percent(ours["of_single"], 1)] if priced else []
    hits = str(ours.get("false_hits", "–"))
    return [*cells, _percent(ours["runs_avoided"], 1), hits, _percent(ours["accuracy"])]


def _reduction(duplicates: float, published: Row, source: str, ours: Row | None) -> None:
    beside = f"; ours {ours['value']:.1%} ({ours['memory']})" if ours else ""
    print(
        f"largest reduction at {duplicates:.0%} duplicates: published {published['value']:.1%} "
        f"({source}){beside}"
    )
