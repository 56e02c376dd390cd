"""What `search` prints: the verdict, the answer beside what it is held against, other choices."""

from __future__ import annotations

from typing import Any

from cascade_cli.show.costs import cost_cells, cost_interval, cost_note
from cascade_cli.show.text import print_table, print_text
from stages.costs import amount, relative

SHOWN = 12


NAMES = {"single": "alone", "random": "at random", "oracle": "oracle"}


COMPARED = {
    "kind": "",
    "model_1": "A",
    "model_2": "B",
    "model_3": "C",
    "accuracy": "accuracy:.1%",
    "usage": "use of B:.1%",
    "cost": "cost",
}


OTHERS = {
    "kind": "",
    "model_1": "A",
    "model_2": "B",
    "model_3": "C",
    "rule": "rule",
    "threshold": "λ:.4g",
    "threshold_2": "λ of B:.4g",
    "accuracy": "accuracy:.1%",
    "cost": "cost",
    "saved": "saved",
}


def show_search(found: dict[str, Any]) -> None:
    """The sentences, one more about the most accurate, the answer beside what it is held against,
    and the hull."""
    first, *more = found["sentences"]
    print_text(first)
    if more:
        print_text(" ".join(more))
    if found["answer"] is not None:
        print_text(most_accurate(found["most_accurate"], found["answer"]))
        _show_answer(found)
    _show_optimism(found["optimism"])
    _show_hull(found)
    row = found["baselines"][0]
    print(
        f"\nsearched on {found['fit_split']} ({found['fit_n']} images, {found['fit_method']}), "
        f"reported on {found['split']} ({found['n']} images)"
    )
    print_text(f"{cost_note(row)}. In brackets are 95% intervals, each of one figure by itself.")
    for path in found.get("policy", {}).get("files", ()):
        print(path)


def most_accurate(row: dict[str, Any], answer: dict[str, Any]) -> str:
    """The most accurate on the fitting images, and its price."""
    models = [row[f"model_{i}"] for i in (1, 2, 3) if row[f"model_{i}"]]
    if len(models) == 1:
        return f"No cascade looks more accurate than {models[0]} alone."
    keys = ("model_1", "model_2", "model_3", "score", "postcheck", "threshold", "threshold_2")
    same = all(row[key] == answer[key] for key in keys)
    if same:
        return "It is the most accurate cascade, too."
    return (
        f"The most accurate cascade: {' → '.join(models)}, {row['accuracy']:.1%} at "
        f"{amount(row['cost'], row['cost_unit'])}."
    )


def _show_answer(found: dict[str, Any]) -> None:
    row = found["answer"]
    if row["model_2"] is not None:
        second = row["threshold_2"] if row["mode_2"] == "threshold" else row["mode_2"]
        limits = [row["threshold"], *([second] if row["model_3"] else [])]
        numbers = ", ".join(x if isinstance(x, str) else f"{x:.4g}" for x in limits)
        print(f"\n  {'rule':<10} {rule(row)}, λ = {numbers}")
    for name, title in (("accuracy", "accuracy"), ("usage", "use of B")):
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        print(f"  {title:<10} {row[name]:.1%} ({low:.1%} to {high:.1%})")
    print(f"  {'cost':<10} {cost_interval(row)}\n")
    rows = [row, *found["baselines"]]
    print_table([_plain(each) for each in rows], _used(COMPARED, rows))


def rule(row: dict[str, Any]) -> str | None:
    """The score, and whether the surer answer counts."""
    return row["score"] and row["score"] + (" with post-check" if row["postcheck"] else "")


def _show_optimism(found: dict[str, Any] | None) -> None:
    if found is not None:
        print()
        print_text(
            f"Searched again in {found['resamples']} resamples of {found['split']}: "
            f"{found['accuracy']:.2%} ({found['accuracy_low']:.2%} to {found['accuracy_high']:.2%})"
            f" on the images left out; choosing flatters by {100 * found['optimism']:.2f} points; "
            f"the same models in {found['same_models']:.0%}."
        )


def _show_hull(found: dict[str, Any]) -> None:
    hull = found["hull"]
    shown = [hull[round(i * (len(hull) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
    rows = hull if len(hull) <= SHOWN else shown
    where = f"chosen on {found['fit_split']}, told of {found['split']}"
    print(f"\n{extent(len(rows), len(hull), where)}:")
    against = rows[0]["baseline"]
    answer = [] if found["answer"] is None else [found["answer"]]
    rows = sorted([*rows, *answer], key=lambda row: float(row["fit_cost"]))
    print_table([_other(row) for row in rows], _used(OTHERS | {"saved": f"than {against}"}, rows))


def _other(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the hull; one model has no λ."""
    name = row["score"] and row["score"] + (" -p" if row["postcheck"] else "")
    limit = row["threshold"] if row["model_2"] else None
    about = {"rule": name, "threshold": limit, "saved": relative(row["saved"])}
    return _plain(row) | about | {"kind": "answer" if row["kind"] == "answer" else ""}


def extent(shown: int, corners: int, where: str) -> str:
    """How many of the good choices are shown, and which images tell of them."""
    more = "" if shown == corners else f"; {shown} of {corners}, --output FILE has all"
    return f"Good choices, cheapest first ({where}{more})"


def _used(columns: dict[str, str], rows: list[dict[str, Any]]) -> dict[str, str]:
    third = any(row["model_3"] for row in rows)
    return {key: title for key, title in columns.items() if third or key not in _THIRD}


_THIRD = ("model_3", "threshold_2")


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return cost_cells(row) | {"kind": NAMES.get(row["kind"], row["kind"])}
