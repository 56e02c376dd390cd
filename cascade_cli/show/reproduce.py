"""What `reproduce` prints: per setting what is published beside ours, then what is not there."""

from __future__ import annotations

from typing import Any

from cascade_cli.show.fit import decided_by_folds
from cascade_cli.show.text import print_table, print_text

Row = dict[str, Any]
WEIGHTS = {True: "published", False: "others", None: "unknown"}
SINGLES = {
    "model": "model",
    "published": "published:.2%",
    "accuracy": "ours:.2%",
    "accuracy_low": "from:.2%",
    "accuracy_high": "to:.2%",
    "weights": "weights",
}
THRESHOLDS = {
    "by": "λ by",
    "fitted": "fitted on",
    "threshold": "λ:.4f",
    "accuracy": "accuracy:.2%",
    "accuracy_low": "from:.2%",
    "accuracy_high": "to:.2%",
    "usage": "use of B:.1%",
}
PAIRS = {
    "metric": "of the pair",
    "published": "published",
    "value": "ours:.4f",
    "rank": "rank",
    "pairs": "of pairs",
}
MEMORY = {
    "memory": "run",
    "duplicates": "duplicates:.0%",
    "energy": "published",
    "published": "of their large CNN:.1%",
    "of_single": "ours, of {single}:.1%",
    "runs_avoided": "CNN runs avoided:.1%",
    "false_hits": "false hits",
    "accuracy": "accuracy:.2%",
}


def show(found: Row) -> None:
    paper = found["paper"]
    print(f"{paper['title']} ({paper['reference']})")
    for row in found["settings"]:
        _show_setting(row, paper)
    if found["missing"]:
        print("\nnot there, and what makes it:")
    for row in found["missing"]:
        print(f"  {row['setting']}: {row['what']}\n    {row['command'] or 'no command makes it'}")


def _show_setting(row: Row, paper: Row) -> None:
    check = " with post-check" if row["postcheck"] else ""
    print(
        f"\n{row['model_1']} → {row['model_2']} on {row['dataset']}/{row['split']} "
        f"({row['n']} images), {row['score']}{check}\n  {row['note']}\n  {row['source']}\n"
    )
    print_table([_single(each) for each in row["single_models"]], SINGLES)
    print()
    _show_thresholds(row)
    print()
    print_table([_flat(each) for each in row["pair"]], PAIRS)
    print()
    _show_memory(row, paper)


def _single(row: Row) -> Row:
    published = row["published"] and row["published"]["accuracy"]
    return row["ours"] | {
        "model": row["model"],
        "published": published,
        "weights": WEIGHTS[row["same_weights"]],
    }


def _show_thresholds(row: Row) -> None:
    rows = [_threshold(each) for each in row["thresholds"]]
    second, single = row["model_2"], row["single"]
    saved = {"second": f"against {second}", "single": f"against {single}"}
    if row["cost"] is None:
        saved = {}
    elif second == single:
        saved.pop("single")
    print_table(rows, THRESHOLDS | saved)
    if any(each["fit_method"] == "cross-fit" for each in rows):
        print_text(decided_by_folds(row["n"]))
    if row["cost"] is not None:
        unit, why = (row["cost"][key] for key in ("cost_unit", "cost_why"))
        print(f"against a model: the cost, in {unit} per request ({why}), and points of accuracy")


def _threshold(row: Row) -> Row:
    ours = row["ours"]
    by = {"grid": "the paper's grid", "exact": f"exact, {ours['objective']}"}
    unit = f", in {row['unit']}" if row["unit"] == "nats" else ""
    return ours | {
        "by": by.get(row["by"], row["by"] + unit),
        "fitted": ours["fit_split"] and f"{ours['fit_split']} ({ours['fit_method']})",
        "second": _compared(ours["against_second"]),
        "single": _compared(ours["against_single"]),
    }


def _compared(held: Row) -> str | None:
    """What is saved, and the points of accuracy gained."""
    from stages.amounts import relative

    if held["saved"] is None:
        return None
    return f"{relative(held['saved'])}, {100 * held['accuracy_change']:+.2f}"


def _flat(row: Row) -> Row:
    return row | (row["ours"] or {})


def _show_memory(row: Row, paper: Row) -> None:
    told = [each for each in row["memory"] if each["published"] or each["ours"]]
    rows = [_remembered(each) for each in told]
    unpublished = all(each["published"] is None for each in told)
    hidden = ("energy", "published") if unpublished else ()
    columns = {
        key: title.replace("{single}", row["single"])
        for key, title in MEMORY.items()
        if key not in hidden
    }
    if row["cost"] is None:
        columns.pop("of_single")
    print_table(rows, columns)
    if unpublished:
        return
    source = next(each["source"] for each in row["memory"] if each["source"])
    print(f"published: {source}")
    _show_reduction(row["reduction"])
    for note in paper["memory_notes"]:
        print(f"  {note}")


def _show_reduction(row: Row) -> None:
    ours = row["ours"]
    beside = f"; ours {ours['value']:.1%} ({ours['memory']})" if ours else ""
    print(
        f"largest reduction at {row['duplicates']:.0%} duplicates: published "
        f"{row['published']['value']:.1%} ({row['source']}){beside}"
    )


def _remembered(row: Row) -> Row:
    published = row["published"] or {"energy": None, "unit": "", "of_single": None}
    energy = published["energy"]
    return (row["ours"] or {}) | {
        "memory": row["memory"],
        "duplicates": row["duplicates"],
        "energy": energy and f"{energy} {published['unit']}",
        "published": published["of_single"],
    }
