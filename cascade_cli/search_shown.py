"""What `search` prints: the sentence, the answer beside what it is held against, the hull."""

from __future__ import annotations

from typing import Any

from cascade_cli.output import print_table, print_text
from cascade_cli.prices import against, explain, interval, told

SHOWN = 12
COLUMNS = {
    "model_1": "A",
    "model_2": "B",
    "score": "score",
    "postcheck": "post-check",
    "threshold": "λ:.4g",
    "accuracy": "accuracy:.2%",
    "usage": "use of B:.1%",
    "fit_accuracy": "fitted:.2%",
    "cost": "cost",
    "saved": "saved:.1%",
}
THIRD = {"model_3": "C", "threshold_2": "λ of B:.4g", "usage_2": "use of C:.1%"}
FIGURES = (
    ("accuracy", "accuracy", ".2%"),
    ("usage", "use of B", ".1%"),
    ("saved", "saved", ".1%"),
)
NAMES = {"single": "alone", "random": "at random", "oracle": "oracle"}


def show(found: dict[str, Any]) -> None:
    """The sentence, the answer beside what it is held against, and the hull."""
    print_text(found["sentence"])
    if found["answer"] is not None:
        _show_answer(found)
    _show_more(found)
    hull = found["hull"]
    shown = [hull[round(i * (len(hull) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
    rows = hull if len(hull) <= SHOWN else shown
    print(f"\n{extent(len(rows), len(hull), len(found['frontier']))}:")
    third = THIRD if any(row["model_3"] for row in rows) else {}
    print_table([_plain(row) for row in rows], COLUMNS | against(rows) | third)
    print(
        f"\nsearched on {found['fit_split']} ({found['fit_n']} images, {found['fit_method']}), "
        f"reported on {found['split']} ({found['n']} images)"
    )
    explain(rows)


def extent(shown: int, corners: int, points: int) -> str:
    """How many of the frontier's points are shown."""
    several = [
        f"{n} {word}{'s' * (n != 1)}" for n, word in ((corners, "corner"), (points, "point"))
    ]
    told = f"{several[0]} of the upper hull of the frontier of {several[1]}"
    return told if shown == corners else f"{shown} of {told} (--output FILE has all)"


def _show_answer(found: dict[str, Any]) -> None:
    row = found["answer"]
    compared = [row, *found["baselines"]]
    print()
    for name, title, style in FIGURES:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        print(f"  {title:<22} {row[name]:{style}} ({low:{style}} to {high:{style}})")
    print(f"  {'cost':<22} {interval(row)}")
    if row["crossfit_accuracy"] is not None:
        print(f"  {'cross-fitted':<22} {row['crossfit_accuracy']:.2%}")
    print()
    third = {"model_3": "C"} if row["model_3"] else {}
    columns = {key: COLUMNS[key] for key in ("accuracy", "usage", "cost")}
    names = {"kind": "", "model_1": "A", "model_2": "B"} | third
    print_table([_plain(each) for each in compared], names | columns)


def _show_more(found: dict[str, Any]) -> None:
    from stages.amounts import amount

    mixture, optimism = found["mixture"], found["optimism"]
    if mixture is not None:
        print()
        print_text(
            f"mixed at random, {mixture['share']:.1%} of the requests by {mixture['second']}, "
            f"the others by {mixture['first']}: {mixture['accuracy']:.2%} at "
            f"{amount(mixture['cost'], found['cost']['unit'])}"
        )
    if optimism is not None:
        print()
        print_text(
            f"chosen anew in {optimism['resamples']} resamples of {optimism['split']} and judged "
            f"out of bag: {optimism['accuracy']:.2%} ({optimism['accuracy_low']:.2%} to "
            f"{optimism['accuracy_high']:.2%}), {100 * optimism['optimism']:.2f} points below what "
            f"it looked like; the same models in {optimism['same_models']:.0%}"
        )


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return told(row) | {"kind": NAMES.get(row["kind"], row["kind"])}
