"""What `rules` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cascade_cli.show.costs import baseline_column, cost_cell, print_cost_note
from cascade_cli.show.text import print_table, print_text
from stages.costs import relative
from stages.deferral import RuleRow
from stages.scores import ScoreSet
from stages.threshold import FOLDS, REPEATS, FitPlan

COLUMNS = {
    "cascade": "cascade",
    "rule": "rule",
    "final": "final answer",
    "objective": "point",
    "threshold": "λ:.6g",
    "shown_accuracy": "accuracy",
    "usage": "use of last:.1%",
    "shown_gain": "gain over maxp",
}


COST_COLUMNS = {"cost": "cost", "saved": "compared"}


def show_rules(reported: ScoreSet, fitted: FitPlan, rows: Sequence[RuleRow]) -> None:
    """A row for each rule, and which rules surely beat plain maxp."""
    costs = COST_COLUMNS if any(row.price.cost is not None for row in rows) else {}
    costs = costs and costs | baseline_column(rows)
    print_table([_shown(row) for row in rows], COLUMNS | costs)
    print_text(decided_by(reported, fitted))
    candidates = max(row.candidates for row in rows)
    if candidates > 1:
        print(f"each the best of up to {candidates} cascades by its accuracy on {fitted.split}")
    if costs:
        print_cost_note(rows, "compared with")
    print_text(better(rows))


def decided_by(reported: ScoreSet, fitted: FitPlan) -> str:
    """Which images fitted λ, and which tell how accurate it is."""
    images = f"{fitted.split} ({len(fitted.scores.labels)} images, {fitted.method})"
    if fitted.method == "cross-fit":
        told = (
            "accuracy and gain are those of images that had no part in the choice: "
            f"{REPEATS} × {FOLDS} folds of {images}, each decided by what the others choose; λ, "
            "use and costs are those of the choice on all"
        )
    else:
        told = f"λ fitted on {images}, reported on {reported.split} ({len(reported.labels)} images)"
    return f"{told}; intervals of 95 %, the gain paired, in points, over plain maxp answered by B"


def better(rows: Sequence[RuleRow]) -> str:
    """Which rows surely beat plain maxp, of how many others."""
    others = [row for row in rows if (row.rule, row.final) != ("maxp", "b")]
    sure = [row for row in others if row.gain.low > 0]
    if not others:
        return "only plain maxp is here: nothing is compared with it"
    compared = f"of {len(others)} row{'s' * (len(others) > 1)} compared with plain maxp"
    if not sure:
        return f"{compared} none is surely more accurate: no interval of a gain lies above 0"
    told = "; ".join(
        f"{row.rule} with {row.final}, {row.objective or 'its one point'}, of {_cascade(row)}"
        for row in sure
    )
    verb = "is" if len(sure) == 1 else "are"
    return (
        f"{compared} {len(sure)} {verb} surely more accurate, where about one in forty would be by "
        f"chance: {told}"
    )


def _cascade(row: RuleRow) -> str:
    return f"{row.model_1.replace(',', ' + ')} → {row.model_2}"


def _shown(row: RuleRow) -> dict[str, Any]:
    """What the table shows, with intervals."""
    accuracy, gain, saved = row.accuracy, row.gain, row.price.saved
    low, high = (f"{100 * end:.2f}" for end in (accuracy.low, accuracy.high))
    least, most = (f"{100 * end:+.2f}" for end in (gain.low, gain.high))
    return row.columns() | {
        "cost": cost_cell(row.price),
        "cascade": _cascade(row),
        "shown_accuracy": f"{accuracy.value:.2%} ({low} to {high})",
        "shown_gain": f"{100 * gain.value:+.2f} ({least} to {most})",
        "saved": saved is not None and relative(saved.value),
    }
