"""What `extract`, `import` and `hash` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cascade_cli.show.text import print_table

if TYPE_CHECKING:
    from stages.extract import ExtractedPartition
    from stages.simulate import ModelChange

LOGITS_COLUMNS = {
    "model": "model",
    "split": "split",
    "rows": "rows",
    "resumed_rows": "resumed",
    "images_per_second": "images/s:.0f",
    "accuracy": "top-1:.2%",
}


HASH_COLUMNS = {
    "algorithm": "hash",
    "split": "split",
    "variant": "variant",
    "rows": "rows",
    "resumed_rows": "resumed",
    "distinct": "distinct keys",
    "key_bytes": "bytes",
}


def show_logits(rows: Sequence[ExtractedPartition]) -> None:
    """A row per partition; what is the same of all but usual is no column."""
    wanted = {
        "variant": len({row.variant for row in rows}) > 1,
        "runtime": len({row.runtime for row in rows}) > 1,
    }
    keys = ["model", "split", *(name for name, told in wanted.items() if told)]
    waiting = {} if all(row.complete for row in rows) else {"complete": "complete"}
    print_table(rows, {name: name for name in keys} | LOGITS_COLUMNS | waiting)


CHANGE_COLUMNS = {
    "model": "model",
    "split": "split",
    "runtime": "runtime",
    "answers_changed": "changed",
    "points": "points:+.2f",
    "low": "from:+.2f",
    "high": "to:+.2f",
}


def show_changes(changes: Sequence[ModelChange]) -> None:
    """What each model answers otherwise in another runtime, and the points of accuracy that costs,
    with their 95 % limits."""
    for reference in dict.fromkeys(each.runtime_2 for each in changes):
        print(f"against {reference}:")
        rows = [_in_points(each) for each in changes if each.runtime_2 == reference]
        print_table(rows, CHANGE_COLUMNS)


def _in_points(each: ModelChange) -> dict[str, Any]:
    low, high = each.accuracy_change_low, each.accuracy_change_high
    points = {"points": each.accuracy_change, "low": low, "high": high}
    return vars(each) | {name: 100 * value for name, value in points.items()}
