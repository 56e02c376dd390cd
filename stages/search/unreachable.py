"""Where nothing does what was asked: what does, of each limit with the others kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from math import ceil, floor

import numpy as np

from stages.cascade import Cascade
from stages.costs import ExpectedCosts, Pricer, UseOfB, amount, budget, costs_of
from stages.scores import ScoreSet
from stages.search.best_pairs import BestOfEach
from stages.search.caps import Cap, caps_of
from stages.search.fitted_frontier import Found, Space, find
from stages.search.pairs import SearchRule, deployable
from stages.search.question import ABSTAINED, COST, MATCH, OF_ANSWERS, USAGE, Goal, Question
from stages.search.ranking import choices_of
from stages.search.wording import asked_of

# (costs, limits of answers, caps, the cheapest is wanted, else the best) → what does so: the
# cascade, its cost and its right answers or credit; None where nothing does.
Best = tuple[Cascade, float, int]
_Finder = Callable[[ExpectedCosts, Question, Sequence[Cap], bool], Best | None]


@dataclass(frozen=True)
class Nearest:
    """What comes nearest to a limit, with all others kept: `found`, by the cascade `point`, where
    `wanted` was asked for."""

    goal: Goal
    point: Cascade
    found: float
    wanted: float
    unit: str | None = None
    lossy: bool = False

    @property
    def off(self) -> float:
        """By which share of what was wanted."""
        return abs(self.found / self.wanted - 1) if self.wanted else np.inf

    def __str__(self) -> str:
        """Rounded so that what it says can be asked for."""
        goal, point = self.goal, f"({self.point})"
        if self.unit is not None:
            asked = f"{budget(self.wanted, self.unit)}{goal.place}"
            return f"{amount(_upwards(self.found), self.unit)} instead of {asked} {point}"
        if goal.kind in (USAGE, ABSTAINED):
            what = {USAGE: "B on ", ABSTAINED: "no answer to "}[goal.kind]
            return f"{what}{ceil(1e4 * self.found) / 1e4:.2%} instead of {self.wanted:.2%} {point}"
        told = f"{floor(1e4 * self.found) / 1e4:.2%}"
        wanted = f"{self.wanted:.2%}"
        if self.lossy:
            told, wanted = f"a loss of {_upwards(self.found):.4g}", f"{self.wanted:.4g}"
        if goal.kind == MATCH:
            return f"{told}, where the model to match has {wanted} {point}"
        return f"{told} instead of {wanted} {point}"


def _upwards(value: float, digits: int = 4) -> float:
    """To so many digits, no less.

    >>> _upwards(0.00100001), _upwards(17.32)
    (0.001001, 17.32)
    """
    if value <= 0:
        return value
    exact = Decimal(value)
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    near = exact.quantize(step)
    # What is off by rounding alone is that number.
    return float(near if float(near) >= value else exact.quantize(step, ROUND_CEILING))


def nearest_to_each(
    question: Question, scores: ScoreSet, pricer: Pricer, space: Space
) -> list[Nearest]:
    """Of each limit that something on these images can be found for, the nearest first."""

    def best(
        costs: ExpectedCosts, asked: Question, caps: Sequence[Cap], cheapest: bool
    ) -> Best | None:
        pairs = replace(space, stages=2, third=False)  # chains have no costs of their use of B
        found = find(scores, costs, pairs if isinstance(costs, UseOfB) else space, caps=caps)
        rows = np.flatnonzero(found.choices(asked).enough(asked.compared))
        if not len(rows) or not found.kept.any():
            return None
        row = rows[0 if cheapest else -1]
        return found.points[row], float(found.cost[row]), int(found.right[row])

    return _nearest(question, scores, pricer, best)


def nearest_of_pair(
    question: Question,
    scores: ScoreSet,
    pricer: Pricer,
    table: Sequence[SearchRule],
    pair: tuple[str, str],
) -> list[Nearest]:
    """The same of one pair."""
    first, second = map(scores.index, pair)

    def best(
        costs: ExpectedCosts, asked: Question, caps: Sequence[Cap], cheapest: bool
    ) -> Best | None:
        points = BestOfEach(scores, costs, table, asked, caps, cheapest).answers([(first, second)])
        points = points.take(np.flatnonzero(points.second >= 0))
        if not len(points):
            return None
        row = int((points.cost if cheapest else -points.right).argmin())
        [point] = deployable(scores, points.take(np.array([row])), table)
        return point, float(points.cost[row]), int(points.right[row])

    return _nearest(question, scores, pricer, best)


def _nearest(question: Question, scores: ScoreSet, pricer: Pricer, best: _Finder) -> list[Nearest]:
    costs, found = costs_of(pricer, scores), []
    for goal in question.goals:
        rest, of_answers = question.without(goal), goal.kind in OF_ANSWERS
        caps = list(caps_of(rest, scores))
        caps += [Cap(each.number, costs) for each in rest.goals if each.kind == COST]
        kept = [each for each in rest.goals if each.kind in OF_ANSWERS]
        asked, table = Question.of(kept, most_accurate=not kept), costs
        if goal in question.caps:
            [table] = (cap.costs for cap in caps_of(Question(COST, also=(goal,)), scores))
        reached = best(table, asked, caps, not of_answers)
        if reached is not None:
            point, cost, right = reached
            told = _worth(scores, right) if of_answers else cost
            lossy = of_answers and scores.loss is not None
            wanted = _wanted(goal, scores, costs)
            found.append(Nearest(goal, point, told, wanted, _unit(goal, pricer), lossy))
    return sorted(found, key=lambda each: each.off)


def _worth(scores: ScoreSet, right: int) -> float:
    """An accuracy, or a mean loss."""
    n = len(scores.labels)
    return right / n if scores.loss is None else -right / (n * scores.loss.scale)


def _wanted(goal: Goal, scores: ScoreSet, costs: ExpectedCosts) -> float:
    if goal.kind != MATCH:
        return goal.number
    asked = choices_of(Question.of([goal]), scores, costs.alone, np.ones(len(costs.alone), bool))
    return _worth(scores, int(asked.alone[asked.matched or 0]))


def _unit(goal: Goal, pricer: Pricer) -> str | None:
    """Of a cost."""
    if goal.pricer is not None:
        return goal.pricer.prices.unit
    return pricer.prices.unit if goal.kind == COST else None


def in_one_line(near: Sequence[Nearest]) -> str:
    """What to ask for instead."""
    told = "; or ".join(map(str, near))
    if not told:
        return "no one limit alone stands in the way: ask for less of several"
    return f"change one limit, the nearest first: {told}"


def unreachable(
    question: Question, scores: ScoreSet, pricer: Pricer, space: Space, found: Found
) -> str:
    """What was asked for, what there is, and what can be asked for instead; `found` is the
    frontier on these images."""
    unit, where = pricer.prices.unit, scores.split
    if question.several:
        near = nearest_to_each(question, scores, pricer, space)
        return f"nothing on {where} {asked_of(question, unit)}; {in_one_line(near)}"
    row = 0 if question.kind == COST else -1
    worth, lossy = _worth(scores, int(found.right[row])), scores.loss is not None
    does = f"loses {worth:.4g}" if lossy else f"reaches {worth:.2%}"
    has = f"{found.points[row]} {does} for {amount(float(found.cost[row]), unit)}"
    if question.kind == COST:
        limit = budget(question.value or 0.0, unit)
        return f"nothing costs {limit} or less on {where}; the cheapest, {has}: allow more"
    if lossy:
        wanted = f"nothing loses {question.value:g} or less on {where}"
        return f"{wanted}; the least, {has}: allow more"
    wanted = f"nothing reaches {question.value:.2%} on {where}"
    return f"{wanted}; the most accurate, {has}: ask for less"
