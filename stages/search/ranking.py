"""Which point of a frontier of accuracy against cost answers a question by its estimate, and which
single model one would deploy instead. By default an answer is tested first: `holdout.Test.answer`
picks it, and this module only where nothing passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.search.question import ACCURACY, BEST, COST, MATCH, Question


@dataclass(frozen=True)
class Choices:
    """A Pareto frontier by ascending cost on n fitting images: `cost` float64 and `right` int64
    [F]; `alone` int64 [M] and `prices` float64 [M], right answers and cost of each model alone, and
    `matched`, the row of the one to match."""

    n: int
    cost: np.ndarray
    right: np.ndarray
    alone: np.ndarray
    prices: np.ndarray
    matched: int | None = None


def answer(question: Question, choices: Choices) -> int | None:
    """The row that answers by its estimate, None where no point does what is asked.

    >>> ends = np.array([1.0, 2.0]), np.array([7, 9])
    >>> found = Choices(10, *ends, ends[1], ends[0])
    >>> [answer(Question("min-accuracy", goal), found) for goal in (0.6, 0.8, 1.0)]
    [0, 1, None]
    """
    right = choices.right
    if question.kind == BEST:
        return len(right) - 1
    if question.kind == COST:
        row = int(affordable(choices.cost, _number(question)))
        return None if row < 0 else row
    if question.kind == MATCH:
        enough = right >= choices.alone[choices.matched or 0]
    else:
        enough = right / choices.n >= _number(question)
    return int(enough.argmax()) if enough.any() else None


def nearest(question: Question, choices: Choices) -> int:
    """The same; the most accurate, or for a cost the cheapest, where no point does."""
    found = answer(question, choices)
    if found is not None:
        return found
    return 0 if question.kind == COST else len(choices.cost) - 1


def affordable(cost: np.ndarray, budget: np.ndarray | float) -> np.ndarray:
    """The row of the most accurate of a frontier within each budget, −1 where there is none.

    >>> affordable(np.array([1.0, 2.0]), np.array([0.5, 1.0, 9.0])).tolist()
    [-1, 0, 1]
    """
    return np.searchsorted(cost, budget, side="right") - 1


def single(question: Question, choices: Choices) -> tuple[int, bool]:
    """The model that one would deploy alone for the same question, by its row, and whether it does
    what is asked; where none does, the most accurate. Of equals the cheaper one."""
    if choices.matched is not None:
        return choices.matched, True
    right, prices = choices.alone, choices.prices
    fit = np.ones(len(right), bool)
    if question.kind == ACCURACY:
        fit = right / choices.n >= _number(question)
    elif question.kind == COST:
        fit = prices <= _number(question)
    return best_alone(fit, right, prices, cheapest=question.kind == ACCURACY)


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


def _number(question: Question) -> float:
    if question.value is None:
        raise ValueError(f"{question.kind} needs a number")
    return question.value
