"""What `simulate` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cascade_cli.show.costs import limit_text, show_cost
from cascade_cli.show.fit import decided_by_folds
from cascade_cli.show.text import print_table, print_text
from stages.costs import figure
from stages.simulate import NOISES, PREFIXES

SIMULATION = (
    ("accuracy", "accuracy", ".2%"),
    ("usage", "use of B", ".2%"),
    ("escalated", "requests sent to B", "d"),
    ("took_b", "answered by B", "d"),
    ("accuracy_1", "A alone", ".2%"),
    ("accuracy_2", "B alone", ".2%"),
    ("hits", "answered from memory", "d"),
    ("false_hits", "of another image's answer", "d"),
    ("duplicate_recall", "repeats recognised", ".2%"),
    ("accuracy_without_memory", "accuracy without it", ".2%"),
    ("memory_bytes", "memory in bytes", ",d"),
    ("break_even_rate", "hits that pay for hashing", ".2%"),
)


_OF_MEMORY = ("hits", "false_hits")


_WITH_ENDS = ("accuracy", "usage")


MACS = "multiply-adds per request"


NEAR = dict(zip(PREFIXES.values(), ("near λ", "near a tie"), strict=True))
MOVED = {
    "comparison": "scores moved by",
    "moved_p50": "median:.2g",
    "moved_p90": "90 %:.2g",
    "moved_p99": "99 %:.2g",
    "moved_p100": "most:.2g",
    "noise": "near λ:.2g",
    "near": "images within",
    "flips": "changed",
}


def print_simulation(row: dict[str, Any]) -> None:
    """The cascade and its figures, one a line, and which images tell them."""
    check = " with post-check" if row["postcheck"] else ""
    how = f"fitted on {row['fit_split']}" if row["fit_split"] else "given"
    limit = "" if row["score"] == "oracle" else f" at λ = {limit_text(row['threshold'])} ({how})"
    print(f"{row['model_1']} → {row['model_2']}, {row['score']}{limit}{check}")
    print(f"{row['split']}: {row['n']} {'requests' if row['stream'] else 'images'}")
    for key, title, style in SIMULATION:
        if row.get(key) is not None and (row["memory"] or key not in _OF_MEMORY):
            print(f"  {title:<26} {row[key]:{style}}{_ends(row, key, style)}")
    for title, text in near_texts(row):
        print(f"  {title:<26} {text}")
    if row["macs_per_request"] is not None and row["cost_kind"] != "macs":
        after = " without hashing" if row["memory"] else ""
        print(f"  {MACS:<26} {figure(row['macs_per_request'], 'multiply-adds')}{after}")
    show_cost(row)
    if row["runtimes"] is not None:
        _show_runtimes(row["runtimes"])
    if row["fit_method"] == "cross-fit":
        print_text(decided_by_folds(row["fit_n"]))


def near_texts(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(what is counted, how many images lie within the usual noises of it), where λ is a number."""
    noises = ", ".join(NOISES).replace("_", "-")
    for prefix, title in NEAR.items():
        counts = [row[f"{prefix}near_{name}"] for name in NOISES]
        if None not in counts:
            yield title, f"{', '.join(map(str, counts))} within {noises}"


def _show_runtimes(found: dict[str, Any]) -> None:
    print(f"in {found['runtime_2']} beside {found['runtime']}, each image once:")
    if found["comparisons"]:
        print_table(found["comparisons"], MOVED)
    print(
        f"{found['decisions_changed']} of {found['n']} images go another way, "
        f"{found['answers_changed']} answers differ, accuracy "
        f"{100 * found['accuracy_change']:+.2f} points"
    )


def _ends(row: dict[str, Any], key: str, style: str) -> str:
    """The ends of a figure's interval, where it has one."""
    if key not in _WITH_ENDS:
        return ""
    low, high = (f"{row[f'{key}_{end}']:{style}}" for end in ("low", "high"))
    return f" ({low} to {high})"
