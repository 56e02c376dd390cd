"""Where nothing does what was asked: what does, of each limit with the others kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.cascade import Cascade
from stages.costs import Pricer, amount, budget, costs_of
from stages.scores import ScoreSet
from stages.search.caps import Cap, caps_of
from stages.search.fitted_frontier import Found, Space, find
from stages.search.question import ACCURACY, COST, MATCH, USAGE, Goal, Question
from stages.search.ranking import answer
from stages.search.wording import in_words


@dataclass(frozen=True)
class Nearest:
    """What comes nearest to a limit, with all others kept: `found`, by the cascade `point`, where
    `wanted` was asked for."""

    goal: Goal
    point: Cascade
    found: float
    wanted: float

    @property
    def off(self) -> float:
        """By which share of what was wanted."""
        return abs(self.found / self.wanted - 1) if self.wanted else np.inf

    def in_words(self, unit: str) -> str:
        if self.goal.kind in (ACCURACY, MATCH, USAGE):
            what = "B on " if self.goal.kind == USAGE else ""
            return f"{what}{self.found:.2%} instead of {self.wanted:.2%} ({self.point})"
        unit = unit if self.goal.pricer is None else self.goal.pricer.prices.unit
        asked = f"{budget(self.wanted, unit)}{self.goal.place}"
        return f"{amount(self.found, unit)} instead of {asked} ({self.point})"


def nearest_to_each(
    question: Question, scores: ScoreSet, pricer: Pricer, space: Space
) -> list[Nearest]:
    """Of each limit that something on these images can be found for, the nearest first."""
    each = (_nearest(goal, question, scores, pricer, space) for goal in question.goals)
    return sorted((found for found in each if found is not None), key=lambda found: found.off)


def _nearest(
    goal: Goal, question: Question, scores: ScoreSet, pricer: Pricer, space: Space
) -> Nearest | None:
    rest, costs = question.without(goal), costs_of(pricer, scores)
    caps = list(caps_of(rest, scores))
    if goal.kind in (ACCURACY, MATCH):
        found = find(scores, costs, space, caps=caps)
        row = answer(Question.of(rest.goals, most_accurate=True), found.choices(rest))
        if row is None:
            return None
        n, wanted = len(scores.labels), goal.value
        if wanted is None:
            wanted = float(found.alone[found.choices(question).matched or 0] / n)
        return Nearest(goal, found.points[row], float(found.right[row] / n), wanted)
    if goal.kind != COST:
        [alone] = caps_of(Question(COST, also=(goal,)), scores)
        caps += [Cap(each.number, costs) for each in rest.goals if each.kind == COST]
        costs = alone.costs
    found = find(scores, costs, space, caps=caps)
    accurate = [each for each in rest.compared if each.kind != COST]
    rows = np.flatnonzero(found.choices(rest).enough(accurate))
    if not len(rows) or not found.kept.any():
        return None
    return Nearest(goal, found.points[rows[0]], float(found.cost[rows[0]]), goal.number)


def unreachable(
    question: Question, scores: ScoreSet, pricer: Pricer, space: Space, found: Found
) -> str:
    """What was asked for, what there is, and what can be asked for instead; `found` is the
    frontier on these images."""
    unit, where = pricer.prices.unit, scores.split
    if question.several:
        wanted = " and ".join(in_words(goal, "the model to match", unit) for goal in question.goals)
        near = nearest_to_each(question, scores, pricer, space)
        told = "; or ".join(each.in_words(unit) for each in near)
        each = "change one limit, the nearest first: " if near else "no one limit alone stands in "
        return f"nothing on {where} {wanted}; {each}{told or 'the way: ask for less of several'}"
    row = 0 if question.kind == COST else -1
    has = (
        f"{found.points[row]} reaches {found.right[row] / len(found.scores.labels):.2%} for "
        f"{amount(float(found.cost[row]), unit)}"
    )
    if question.kind == COST:
        limit = budget(question.value or 0.0, unit)
        return f"nothing costs {limit} or less on {where}; the cheapest, {has}: allow more"
    wanted = f"nothing reaches {question.value:.2%} on {where}"
    return f"{wanted}; the most accurate, {has}: ask for less"
