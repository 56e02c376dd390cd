"""What `search` prints: the sentence, the answer beside what it is held against, the hull."""

from __future__ import annotations

from typing import Any

from cascade_cli.output import print_table, print_text
from cascade_cli.prices import against, baseline

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
    "cost": "cost:.4g",
    "saved": "saved:.1%",
}
THIRD = {"model_3": "C", "threshold_2": "λ of B:.4g", "usage_2": "use of C:.1%"}
FIGURES = (
    ("accuracy", "accuracy", ".2%"),
    ("usage", "use of B", ".1%"),
    ("cost", "cost", ",.5g"),
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
    print(
        f"\nthe upper hull of {len(found['frontier'])} points of the frontier ({len(hull)} of it):"
    )
    third = THIRD if any(row["model_3"] for row in rows) else {}
    print_table([_plain(row) for row in rows], COLUMNS | against(rows) | third)
    cost = found["cost"]
    print(
        f"\nsearched on {found['fit_split']} ({found['fit_n']} images, {found['fit_method']}), "
        f"reported on {found['split']} ({found['n']} images)\ncost: {cost['unit']} per request "
        f"({cost['why']}), batch size {cost['batch_size']}; saved against {baseline(rows)}"
    )


def _show_answer(found: dict[str, Any]) -> None:
    row = found["answer"]
    compared = [row, *found["baselines"]]
    print()
    for name, title, style in FIGURES:
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        print(f"  {title:<22} {row[name]:{style}} ({low:{style}} to {high:{style}})")
    if row["crossfit_accuracy"] is not None:
        print(f"  {'cross-fitted':<22} {row['crossfit_accuracy']:.2%}")
    print()
    third = {"model_3": "C"} if row["model_3"] else {}
    columns = {key: COLUMNS[key] for key in ("accuracy", "usage", "cost")}
    names = {"kind": "", "model_1": "A", "model_2": "B"} | third
    print_table([_plain(each) for each in compared], names | columns)


def _show_more(found: dict[str, Any]) -> None:
    mixture, optimism = found["mixture"], found["optimism"]
    if mixture is not None:
        print()
        print_text(
            f"mixed at random, {mixture['share']:.1%} of the requests by {mixture['second']}, "
            f"the others by {mixture['first']}: {mixture['accuracy']:.2%} at {mixture['cost']:.5g}"
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
    return row | {"kind": NAMES.get(row["kind"], row["kind"])}
