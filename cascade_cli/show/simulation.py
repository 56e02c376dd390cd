"""What `simulate` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cascade_cli.show.costs import limit_text, show_cost
from cascade_cli.show.fit import decided_by_folds
from cascade_cli.show.nobody import handed_on, nobody_lines
from cascade_cli.show.text import print_table, print_text
from stages.cascade import Limit
from stages.costs import figure
from stages.simulate import (
    NOISES,
    PREFIXES,
    DecidedRequests,
    RuntimeChange,
    SimulatedCascade,
)
from stages.statistics import Interval

# By column.
SIMULATION = (
    ("accuracy", "accuracy", ".2%"),
    ("usage", "use of B", ".2%"),
    ("escalated", "requests sent to B", "d"),
    ("took_b", "answered by B", "d"),
    ("usage_2", "use of C", ".2%"),
    ("accuracy_1", "A alone", ".2%"),
    ("accuracy_2", "B alone", ".2%"),
    ("accuracy_3", "C alone", ".2%"),
)
OF_MEMORY = (
    ("hits", "answered from memory", "d"),
    ("false_hits", "of another image's answer", "d"),
    ("duplicate_recall", "repeats recognised", ".2%"),
    ("accuracy_without_memory", "accuracy without it", ".2%"),
    ("memory_bytes", "memory in bytes", ",d"),
    ("break_even_rate", "hits that pay for hashing", ".2%"),
)


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


def print_simulation(
    row: SimulatedCascade,
    stream: str | None,
    moved: RuntimeChange | None,
    own: Limit | None = None,
    how: str = "given",
) -> None:
    """The cascade and its figures, one a line, which images tell them, and what another runtime
    changes; `own` is λ as the score was before it was calibrated, `how` how it came about where
    it was not fitted."""
    how = f"fitted on {row.fit.fit_split}" if row.fit.fit_split else how
    print_text(f"{names_text(row)}{_rule(row, how)}")
    print(f"{row.split}: {row.n} {'requests' if stream else 'images'}")
    if own is not None:
        print(f"  {'λ before calibration':<26} {limit_text(own.threshold)}")
    shown, memory = row.columns(), row.memory.memory
    told = handed_on(row.unanswered, row.price.cost_unit)
    if told:
        print_text(told)
    for title, text in nobody_lines(row.unanswered):
        print(f"  {title:<26} {text}")
    for key, title, style in (*_titles(row), *(OF_MEMORY if memory else ())):
        title += " or C" * (key == "took_b" and row.accuracy_3 is not None)
        if shown[key] is not None:
            print(f"  {title:<26} {shown[key]:{style}}{ends_text(getattr(row, key, None))}")
    for title, text in near_texts(shown):
        print(f"  {title:<26} {text}")
    if row.macs_per_request is not None and row.price.cost_kind != "macs":
        after = " without hashing" if memory else ""
        macs = figure(row.macs_per_request, "multiply-adds")
        print(f"  multiply-adds per request  {macs}{after}")
    show_cost(row, row.memory, row.tail)
    if moved is not None:
        _show_runtimes(moved)
    if row.fit.fit_method == "cross-fit":
        print_text(decided_by_folds(row.fit.fit_n or 0))


def _titles(row: DecidedRequests) -> Iterator[tuple[str, str, str]]:
    """What is told of the models: of B nothing where none runs."""
    models = sum(each is not None for each in (row.accuracy_1, row.accuracy_2, row.accuracy_3))
    alone = row.model_2 is None
    skipped = {"accuracy", "usage_2"} if row.unanswered.abstained is not None else set()
    skipped |= {"usage", "escalated", "took_b"} if models == 1 else set()
    yield from (each for each in SIMULATION if each[0] not in skipped and not alone)
    if alone:
        yield SIMULATION[0]


def names_text(row: DecidedRequests) -> str:
    """The models in their order; members of a committee joined by +."""
    names = (row.model_1, row.model_2, row.model_3)
    told = " → ".join(name.replace(",", " + ") for name in names if name)
    return told if row.model_2 else f"{told} alone"


def _rule(row: DecidedRequests, how: str) -> str:
    """By which score, λ and final answer, with how λ came about."""
    if row.model_2 is None:
        return ""
    limits = [limit_text(row.threshold.threshold)]
    if row.model_3 is not None:
        second = row.threshold_2 if row.mode_2 == "threshold" else row.mode_2
        limits.append(limit_text(second))
    limit = "" if row.score == "oracle" else f" at λ = {', '.join(limits)} ({how})"
    final = {"postcheck": " with post-check", "ensemble": ", answered by the mean"}
    return f", {row.score}{limit}{final.get(row.final, '')}"


def near_texts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what is counted, how many images lie within the usual noises of it), where λ is a number."""
    noises = ", ".join(NOISES).replace("_", "-")
    for prefix, title in NEAR.items():
        counts = [row[f"{prefix}near_{name}"] for name in NOISES]
        if None not in counts:
            yield title, f"{', '.join(map(str, counts))} within {noises}"


def _show_runtimes(found: RuntimeChange) -> None:
    print(f"in {found.runtime_2} beside {found.runtime}, each image once:")
    if found.comparisons:
        print_table(found.comparisons, MOVED)
    print(
        f"{found.decisions_changed} of {found.n} images go another way, {found.answers_changed} "
        f"answers differ, accuracy {100 * found.accuracy_change:+.2f} points"
    )


def ends_text(found: Interval | float | None) -> str:
    """The ends of a share's interval, where it has one."""
    return f" ({found.low:.2%} to {found.high:.2%})" if isinstance(found, Interval) else ""
