"""Which point of a frontier of accuracy against cost answers a question by its estimate, and which
single model one would deploy instead. By default an answer is tested first: `holdout.Test.answer`
picks it, and this module only where nothing passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.scores import ScoreSet
from stages.search.question import COST, LOSS, MATCH, Goal, Question


@dataclass(frozen=True)
class Choices:
    """A Pareto frontier by ascending cost on n fitting images: `cost` float64 and `right` int64
    [F]; `alone` int64 [M] and `prices` float64 [M], right answers and cost of each model alone,
    `kept` bool [M], those within all caps, and `matched`, the row of the one to match. Under a loss
    what is right is minus it, in units of 1/scale."""

    n: int
    cost: np.ndarray
    right: np.ndarray
    alone: np.ndarray
    prices: np.ndarray
    kept: np.ndarray
    matched: int | None = None
    scale: int = 1

    def enough(self, goals: Sequence[Goal]) -> np.ndarray:
        """bool [F]: which of the frontier keep these limits of accuracy, or of the cost."""
        return self.keep(goals, self.cost, self.right)

    def enough_alone(self, goals: Sequence[Goal]) -> np.ndarray:
        """bool [M]: the same of the models alone, and all caps."""
        return self.kept & self.keep(goals, self.prices, self.alone)

    def keep(self, goals: Sequence[Goal], cost: np.ndarray, right: np.ndarray) -> np.ndarray:
        """bool [P]: the same of any points on these images."""
        found = np.ones(len(cost), bool)
        for goal in goals:
            if goal.kind == COST:
                found &= cost <= goal.number
            elif goal.kind == MATCH:
                found &= right >= self.alone[self.matched or 0]
            elif goal.kind == LOSS:
                found &= -right / (self.n * self.scale) <= goal.number
            else:
                found &= right / self.n >= goal.number
        return found


def choices_of(
    question: Question, scores: ScoreSet, prices: np.ndarray, kept: np.ndarray
) -> Choices:
    """Of models alone: `prices` float64 [M], `kept` bool [M]."""
    alone, goal, matched = scores.credit.sum(axis=1, dtype=np.int64), question.matching, None
    if goal is not None:
        matched = scores.index(goal.model) if goal.model else most_accurate(alone, prices)
    scale = 1 if scores.loss is None else scores.loss.scale
    return Choices(len(scores.labels), prices, alone, alone, prices, kept, matched, scale)


def answer(question: Question, choices: Choices) -> int | None:
    """The row that answers by its estimate, None where no point does what is asked.

    >>> ends = np.array([1.0, 2.0]), np.array([7, 9])
    >>> found = Choices(10, *ends, ends[1], ends[0], ends[0] > 0)
    >>> [answer(Question("min-accuracy", goal), found) for goal in (0.6, 0.8, 1.0)]
    [0, 1, None]
    """
    rows = np.flatnonzero(choices.enough(question.compared))
    if not len(rows) or not choices.kept.any():
        return None
    return int(rows[0] if question.cheapest else rows[-1])


def nearest(question: Question, choices: Choices) -> int:
    """The same; where no point does, the cheapest that is accurate enough, else the most accurate
    within the cost."""
    found = answer(question, choices)
    if found is not None:
        return found
    of_cost = [goal for goal in question.compared if goal.kind == COST]
    accurate = choices.enough([g for g in question.compared if g not in of_cost])
    if accurate.any():
        return int(accurate.argmax())
    return max(0, int(np.count_nonzero(choices.enough(of_cost))) - 1)


def affordable(cost: np.ndarray, budget: np.ndarray | float) -> np.ndarray:
    """The row of the most accurate of a frontier within each budget, −1 where there is none.

    >>> affordable(np.array([1.0, 2.0]), np.array([0.5, 1.0, 9.0])).tolist()
    [-1, 0, 1]
    """
    return np.searchsorted(cost, budget, side="right") - 1


def single(question: Question, choices: Choices) -> tuple[int, bool]:
    """The model that one would deploy alone for the same question, by its row, and whether it does
    what is asked; where none does, the one to match, else the most accurate. Of equals the cheaper
    one."""
    if choices.matched is not None and not question.several:
        return choices.matched, True
    right, prices = choices.alone, choices.prices
    fit = choices.enough_alone(question.compared)
    if choices.matched is not None and not fit.any():
        return choices.matched, False
    return best_alone(fit, right, prices, cheapest=question.cheapest)


def best_alone(
    fit: np.ndarray, right: np.ndarray, prices: np.ndarray, cheapest: bool
) -> tuple[int, bool]:
    """(the row of the best of the models that do what is asked, bool [M]; whether any does): the
    `cheapest`, else the most accurate, as where none does. Of equals the cheaper or more accurate
    one."""
    rows = np.flatnonzero(fit) if fit.any() else np.arange(len(fit))
    keys = (-right, prices) if cheapest and fit.any() else (prices, -right)
    return int(rows[np.lexsort([key[rows] for key in keys])[0]]), bool(fit.any())


def most_accurate(alone: np.ndarray, prices: np.ndarray) -> int:
    """The row of the best single model, of equals the cheapest: int64 [M], float64 [M]."""
    return int(np.lexsort((prices, -alone))[0])
