"""Is the cascade worth it, against every single model, on the reported images?

Rivals are the single models that do not surely cost more. The cascade is worth it where it is
surely more accurate than the most accurate rival, not worth it where it surely is not, and else
these images cannot tell: "surely" by paired 95 % intervals over the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.amounts import amount, figures, told_in
from stages.bootstrap import Interval, deployed
from stages.operating import OperatingPoint
from stages.pricing import Bill, Estimate, Pricer
from stages.questions import ACCURACY, BEST, CERTIFY, COST, ONE_SE, Question

Row = dict[str, Any]

WORTH, NOT_WORTH, UNKNOWN = "worth it", "not worth it", "cannot tell"
# A change of cost that rounds to 0.0%.
UNSEEN = 5e-4


@dataclass(frozen=True)
class Verdict:
    """`word` is one of the three; `rival` the model that decides, against which `change` is the
    accuracy that the cascade gains and `saved` the share of cost."""

    word: str
    rival: str
    change: Interval
    saved: Estimate


def verdict(
    pricer: Pricer, point: OperatingPoint, bill: Bill, stage: np.ndarray, correct: np.ndarray
) -> Verdict:
    """From what the cascade costs, and per reported image which models ran and whether it is right.

    A single model is no cascade: it is its own rival.
    """
    scores = pricer.scores
    nobody = np.zeros(len(correct), np.int8)
    saved = {
        model: bill.saved(pricer.staged((model,), nobody))
        for model in scores.models
        if model in pricer.prices.forward
    }
    rivals = [model for model in saved if saved[model].low <= 0]
    if len(point.models) == 1:
        rivals = list(point.models)
    rival = max(rivals, key=lambda m: (float(scores.accuracy[scores.index(m)]), -saved[m].value))
    right = scores.correct[scores.index(rival)]
    change = deployed(correct, stage >= 1, right)["accuracy_change"]
    word = WORTH if change.low > 0 else NOT_WORTH if change.high <= 0 else UNKNOWN
    return Verdict(word, rival, change, saved[rival])


# Where a single model answers: why it is no cascade, by the kind of question.
_NO_CASCADE = {
    ONE_SE: "none within a standard error of the most accurate costs less",
    BEST: "none is more accurate",
    COST: "none that costs no more than allowed is more accurate",
    CERTIFY: "none that is certified costs less",
}
_NONE_CHEAPER = "none that reaches this accuracy costs less"


def sentence(point: OperatingPoint, row: Row, found: Verdict, question: Question) -> str:
    """What the answer does, what it saves, and whether that is worth it."""
    does = (
        f"{point} is right on {row['accuracy']:.2%} of {row['split']} ({_chosen_by(row)}) at "
        f"{amount(row['cost'], row['cost_unit'])} a request"
    )
    if len(point.models) == 1:
        why = _NO_CASCADE.get(question.kind, _NONE_CHEAPER)
        return f"{does}. A cascade is not worth it here: {why}."
    return (
        f"{does}: {_relative(-row['saved'])} than {row['baseline']} alone "
        f"({_between(-row['saved_high'], -row['saved_low'])}), accuracy "
        f"{_points(row, 'accuracy_change')}. {_because(found)}"
    )


def missed(question: Question, row: Row) -> str:
    """A sentence where images without a part in the choice miss the accuracy or cost asked for.

    Empty where they do not, or where neither was asked for.
    """
    name, sign, told = _GOALS.get(question.kind, ("", 0, None))
    if told is None or question.value is None:
        return ""
    crossfit = row[f"crossfit_{name}"]
    reached = row[name] if crossfit is None else crossfit
    return told(question.value, reached, row) if sign * (reached - question.value) < 0 else ""


def _less_accurate(asked: float, reached: float, row: Row) -> str:
    chosen = f"Chosen on {row['fit_split']}; on {row['split']}"
    how = chosen if row["crossfit_accuracy"] is None else "Cross-fitted,"
    return f" {how} it misses the {100 * asked:.6g}% asked."


def _dearer(asked: float, reached: float, row: Row) -> str:
    unit = row["cost_unit"]
    most, spent, fitted = figures(unit, asked, reached, row["fit_cost"])
    chosen = f"Chosen on {row['fit_split']}, where it costs {fitted}; on {row['split']}"
    how = chosen if row["crossfit_cost"] is None else "Cross-fitted,"
    return f" {how} it costs {spent}, more than the {most} {told_in(unit)} allowed."


# By the kind of question: the figure that it limits, 1 where more is better, and what is said.
_GOALS = {ACCURACY: ("accuracy", 1, _less_accurate), COST: ("cost", -1, _dearer)}


def _chosen_by(row: Row) -> str:
    """How the accuracy looked where the choice was made, or looks where it was not."""
    if row["crossfit_accuracy"] is not None:
        return f"cross-fitted {row['crossfit_accuracy']:.2%}"
    return f"{row['fit_accuracy']:.2%} of {row['fit_split']}, where it was chosen"


def _because(found: Verdict) -> str:
    change = {"c": found.change.value, "c_low": found.change.low, "c_high": found.change.high}
    gain = _points(change, "c")
    dearer = found.saved.value / (1 - found.saved.value)
    rival = f"{found.rival} alone, which costs {_relative(dearer)}"
    return {
        WORTH: f"Worth it: it is surely more accurate than {rival}, by {gain}, and no other single "
        "model that costs no more is better than that.",
        NOT_WORTH: f"Not worth it: it is surely no more accurate than {rival}: {gain}.",
        UNKNOWN: "These images cannot tell whether it is worth it: its accuracy against that of "
        f"{rival}, is {gain}.",
    }[found.word]


def _relative(change: float) -> str:
    """A change of cost in words."""
    if abs(change) < UNSEEN:
        return "as much"
    return f"{abs(change):.1%} {'more' if change > 0 else 'less'}"


def _between(low: float, high: float) -> str:
    """An interval of such changes, the smaller one first where both go one way."""
    if low < -UNSEEN and high > UNSEEN:
        return f"between {_relative(low)} and {_relative(high)}"
    return " to ".join(map(_relative, sorted((low, high), key=abs)))


def _points(row: Row, name: str) -> str:
    low, high = (100 * row[f"{name}_{end}"] for end in ("low", "high"))
    return f"{100 * row[name]:+.2f} points ({low:+.2f} to {high:+.2f})"
