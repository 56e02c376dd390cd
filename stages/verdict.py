"""Is the cascade worth it, against every single model, on the reported images?

Rivals are the single models that do not surely cost more. The cascade is worth it where it is
surely more accurate than the most accurate rival, not worth it where it surely is not, and else
these images cannot tell: "surely" by paired 95 % intervals over the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.bootstrap import Interval, deployed
from stages.operating import OperatingPoint
from stages.pricing import Bill, Estimate, Pricer
from stages.questions import ACCURACY, Question

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


def sentence(point: OperatingPoint, row: Row, found: Verdict) -> str:
    """What the answer does, what it saves, and whether that is worth it."""
    does = (
        f"{point} is right on {row['accuracy']:.2%} of {row['split']} ({_chosen_by(row)}) at "
        f"{amount(row['cost'], row['cost_unit'])} a request"
    )
    if len(point.models) == 1:
        return f"{does}. A cascade is not worth it here: none answers the question for less."
    return (
        f"{does}: {_relative(-row['saved'])} than {row['baseline']} alone "
        f"({_between(-row['saved_high'], -row['saved_low'])}), accuracy "
        f"{_points(row, 'accuracy_change')}. {_because(found)}"
    )


def missed(question: Question, row: Row) -> str:
    """A sentence where the accuracy asked for is not there on images without a part in the choice.

    Empty where it is, or where none was asked for.
    """
    crossfit = row["crossfit_accuracy"]
    reached = row["accuracy"] if crossfit is None else crossfit
    if question.kind != ACCURACY or question.value is None or reached >= question.value:
        return ""
    chosen = f"Chosen on {row['fit_split']}; on {row['split']}" if crossfit is None else ""
    asked = f"{100 * question.value:.6g}%"
    return f" {chosen or 'Cross-fitted,'} it misses the {asked} asked."


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


def amount(value: float, unit: str) -> str:
    """A cost with its unit, in as many digits as it deserves."""
    return f"{value:,.0f} {unit}" if value >= 1e4 else f"{value:.4g} {unit}"


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
