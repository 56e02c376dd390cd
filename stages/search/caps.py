"""Limits of what a search does not compare: latency on another device, energy, the use of B.

Of one pair each of these only rises with the images that B runs on, so a limit ends the sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.costs import ExpectedCosts, UseOfB, costs_of
from stages.scores import ScoreSet
from stages.search.question import Question


@dataclass(frozen=True)
class Cap:
    """At most `most` per request, on average, of what `costs` tell."""

    most: float
    costs: ExpectedCosts

    def sent(self, a: int, b: int, order: np.ndarray) -> int:
        """How many of the images, in the `order` of A, may go to B; −1 where A alone is too much:
        int [N]."""
        spent = self.costs.alone[a] + self.costs.along(b, order)
        return int(spent.searchsorted(self.most, side="right")) - 1

    def keeps(self, rows: Sequence[int], stage: np.ndarray) -> bool:
        """Whether a cascade of these models does, int [N] the last that ran."""
        return float(self.costs.spent(rows, stage).mean()) <= self.most


def caps_of(question: Question, scores: ScoreSet) -> tuple[Cap, ...]:
    """The question's, on these images."""
    use = UseOfB.of(scores.models, len(scores.labels))
    return tuple(
        Cap(goal.number, use if goal.pricer is None else costs_of(goal.pricer, scores))
        for goal in question.caps
    )


def sent_within(caps: Sequence[Cap], a: int, b: int, order: np.ndarray) -> int:
    """How many of the images may go to B by all of these, at most all."""
    return min([cap.sent(a, b, order) for cap in caps], default=len(order))


def kept_alone(caps: Sequence[Cap], models: int) -> np.ndarray:
    """bool [M]: the models that alone keep all of these."""
    kept = [cap.costs.alone <= cap.most for cap in caps]
    return np.all(kept, axis=0) if kept else np.ones(models, bool)


def nearest_alone(caps: Sequence[Cap]) -> int:
    """The model that alone exceeds these by the smallest factor."""
    with np.errstate(divide="ignore"):
        over = [cap.costs.alone / cap.most for cap in caps]
    return int(np.max(over, axis=0).argmin())
