"""What is asked of a frontier of accuracy against cost, and which of its points answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ONE_SE, BEST, ACCURACY = "1se", "best-accuracy", "min-accuracy"
COST, MATCH, CERTIFY = "max-cost", "match", "certify"


@dataclass(frozen=True)
class Question:
    """`kind`: `1se`, the cheapest within one paired standard error of the most accurate;
    `best-accuracy`; `min-accuracy`, the cheapest that reaches `value`; `max-cost`, the most
    accurate for at most `value` per request; `match`, the cheapest as accurate as `model`.
    `certify` is answered by `guarantee`, not here."""

    kind: str = ONE_SE
    value: float | None = None
    model: str | None = None

    def __str__(self) -> str:
        return " ".join(str(x) for x in (self.kind, self.value, self.model) if x is not None)


@dataclass(frozen=True)
class Choices:
    """A Pareto frontier by ascending cost on n fitting images: `cost` float64 and `right` int64
    [F]. `alone` maps each model to its right answers; `differing` counts the images that exactly
    one of a point, by its row, and the most accurate gets right."""

    n: int
    cost: np.ndarray
    right: np.ndarray
    alone: dict[str, int]
    differing: Callable[[int], int]


def answer(question: Question, choices: Choices) -> int | None:
    """The row that answers, None where no point does what is asked.

    >>> found = Choices(10, np.array([1.0, 2.0]), np.array([7, 9]), {}, lambda row: 4)
    >>> [answer(Question("min-accuracy", goal), found) for goal in (0.6, 0.8, 1.0)]
    [0, 1, None]
    """
    return _ANSWERS[question.kind](question, choices)


def nearest(question: Question, choices: Choices) -> int:
    """The same; the most accurate, or for a cost the cheapest, where no point does."""
    found = answer(question, choices)
    if found is not None:
        return found
    return 0 if question.kind == COST else len(choices.cost) - 1


def _one_se(question: Question, choices: Choices) -> int:
    """D right answers fewer, m images that one of the two gets right: D/n ≤ SE as D² ≤ m."""
    best = len(choices.right) - 1
    short = choices.right[best] - choices.right
    # m is at most n, which spares most points the count.
    for i in np.flatnonzero(short * short <= choices.n).tolist():
        if short[i] ** 2 <= choices.differing(i):
            return int(i)
    return best


def _best(question: Question, choices: Choices) -> int:
    return len(choices.right) - 1


def _reaching(choices: Choices, enough: np.ndarray) -> int | None:
    return int(enough.argmax()) if enough.any() else None


def _accurate(question: Question, choices: Choices) -> int | None:
    return _reaching(choices, choices.right / choices.n >= _number(question))


def _matching(question: Question, choices: Choices) -> int | None:
    return _reaching(choices, choices.right >= choices.alone[str(question.model)])


def _affordable(question: Question, choices: Choices) -> int | None:
    cheap = int(np.searchsorted(choices.cost, _number(question), side="right"))
    return cheap - 1 if cheap else None


def _number(question: Question) -> float:
    if question.value is None:
        raise ValueError(f"{question.kind} needs a number")
    return question.value


_ANSWERS: dict[str, Callable[[Question, Choices], int | None]] = {
    ONE_SE: _one_se,
    BEST: _best,
    ACCURACY: _accurate,
    COST: _affordable,
    MATCH: _matching,
}
