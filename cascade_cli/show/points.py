"""What `threshold` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cascade_cli.show.costs import baseline_column, cost_cell, print_cost_note
from cascade_cli.show.fit import decided_by_folds
from cascade_cli.show.text import print_table, print_text
from stages.cascade import NEVER
from stages.costs import relative
from stages.scores import ScoreSet
from stages.search import AnswerPoint
from stages.threshold import ClassChange, FitPlan, OperatingPoint

SHOWN = 20


POINT_COLUMNS = {
    "rule": "score",
    "objective": "point",
    "threshold": "λ:.6g",
    "loss": "loss:.4g",
    "accuracy": "accuracy:.2%",
    "usage": "use of B:.1%",
    "target": "limits",
}


COST_COLUMNS = {"cost": "cost", "saved": "compared", "points": "points"}
CLASS_COLUMNS = {
    "name": "class",
    "n": "images",
    "loss_before": "loss alone:.4g",
    "loss_after": "loss now:.4g",
    "accuracy_before": "right alone:.1%",
    "accuracy_after": "right now:.1%",
}


def best_first(rows: Sequence[OperatingPoint]) -> list[OperatingPoint]:
    """The most accurate first, or those that lose least; answers are in their own order."""

    def worst(row: OperatingPoint) -> float:
        return -row.accuracy.value if row.loss is None else row.loss.value

    return list(rows) if isinstance(rows[0], AnswerPoint) else sorted(rows, key=worst)


def show_points(reported: ScoreSet, fitted: FitPlan, rows: Sequence[OperatingPoint]) -> None:
    """The most accurate points, whose costs and λ below them."""
    rows = best_first(rows)
    cascades = [row for row in rows if row.threshold.kind != NEVER]
    several = len({(row.model_1, row.model_2) for row in rows}) > 1
    rows, left = (cascades, len(rows) - len(cascades)) if several and cascades else (rows, 0)
    _print_points(rows[:SHOWN], several)
    if len(rows) > SHOWN:
        first = "most accurate" if rows[0].loss is None else "first"
        print(f"… the {SHOWN} {first} of {len(rows)}; --json or --output FILE gives all")
    if left:
        print(f"{left} more have λ never, which is A alone: --json or --output FILE gives them")
    print_text(_decided_by(reported, fitted))
    if rows[0].price.cost is not None:
        print_cost_note(rows[:SHOWN], "compared, also in points of accuracy, with")


def _print_points(rows: Sequence[OperatingPoint], several: bool) -> None:
    """A pair stands above its table, which then has room for the interval of the accuracy."""
    columns = ({"model_1": "A", "model_2": "B"} if several else {}) | POINT_COLUMNS
    lossy = rows[0].loss is not None
    left = set() if lossy else {"loss"}
    left |= {"objective"} if isinstance(rows[0], AnswerPoint) else {"target"}
    columns = {key: head for key, head in columns.items() if key not in left}
    if any(row.price.cost is not None for row in rows):
        columns |= COST_COLUMNS | baseline_column(rows)
    elif not several:
        columns |= {"ends": f"95% interval{' of the loss' * lossy}"}
    if not several:
        row = rows[0]
        alone = f"{row.accuracy_1:.2%} and {row.accuracy_2:.2%}"
        losses = f"loss {row.loss_1:.4g} and {row.loss_2:.4g}, accuracy " if lossy else ""
        print(f"{row.model_1} → {row.model_2}, alone {losses}{alone}")
    print_table([_shown(row) for row in rows], columns)


def _shown(row: OperatingPoint) -> dict[str, Any]:
    saved = row.price.saved
    return row.columns() | {
        "cost": cost_cell(row.price),
        "rule": row.score + (" -p" if row.postcheck else ""),
        "ends": _ends(row),
        "saved": saved is not None and relative(saved.value),
        "points": f"{100 * row.against.accuracy_change.value:+.2f}",
    }


def _ends(row: OperatingPoint) -> str:
    if row.loss is not None:
        return f"{row.loss.low:.4g} to {row.loss.high:.4g}"
    return f"{row.accuracy.low:.2%} to {row.accuracy.high:.2%}"


def show_classes(cascade: object, whom: str, classes: Sequence[ClassChange], method: str) -> None:
    """What a cascade gains and loses on each class; of many those that change most."""
    if not classes:
        return
    most = sorted(classes, key=lambda each: -abs(each.gained))[:SHOWN]
    print()
    print_text(f"{cascade}, by class, against {whom} alone, what gains most first:")
    print_table(sorted(most, key=lambda each: -each.gained), CLASS_COLUMNS)
    if len(classes) > SHOWN:
        print(f"… the {SHOWN} that change most of {len(classes)} classes; --json gives all")
    if method in ("cross-fit", "same-split"):
        print_text("By class the figures are of the images that fitted λ, too.")


def _decided_by(reported: ScoreSet, fitted: FitPlan) -> str:
    """Which images fitted λ, and which tell how accurate it is."""
    n = len(fitted.scores.labels)
    told = f"λ fitted on {fitted.split} ({n} images, {fitted.method})"
    if fitted.method == "cross-fit":
        return f"{told}. {decided_by_folds(n)}"
    return f"{told}, reported on {reported.split} ({len(reported.labels)} images)"
