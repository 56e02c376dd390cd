"""Limits alone and together, against loops over every model, pair, rule and λ, on small data full
of ties."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import naive
import numpy as np
import pytest
from helpers import random_scores
from hypothesis import given, settings, strategies as st

from stages.cascade import decide
from stages.costs import Pricer, Prices, costs_of
from stages.costs.table import flat
from stages.search import (
    ACCURACY,
    ALL_DEVICES,
    COST,
    ENERGY,
    LATENCY,
    MATCH,
    USAGE,
    Goal,
    Question,
    Search,
    Space,
    rules,
)
from stages.search.caps import caps_of
from stages.search.devices import compare_devices
from stages.search.fitted_frontier import find
from stages.search.unreachable import nearest_to_each
from stages.threshold import FitPlan

TABLE = tuple(rules(naive.SCORES))
SPACE = Space(TABLE)
SEEDS = st.integers(0, 10_000)
KINDS = (ACCURACY, MATCH, COST, LATENCY, ENERGY, USAGE)
ASKED = [kinds for size in (1, 2, 3) for kinds in combinations(KINDS, size)]


def _prices(kind, unit, device, models, each):
    curves = {model: flat(float(cost)) for model, cost in zip(models, each, strict=True)}
    return Prices(kind, unit, device, "a test", curves, {})


class Made:
    """Three models on 8 or 16 images with whole-number costs of three kinds, and every operating
    point there is, one by one."""

    def __init__(self, seed, n=None):
        rng = np.random.default_rng(seed)
        names = ("a", "b", "c")
        self.scores = random_scores(rng, n or int(rng.choice([8, 16])), levels=5, models=names)
        self.costs = {kind: rng.integers(1, 6, 3) for kind in (COST, LATENCY, ENERGY)}
        self.n = len(self.scores.labels)
        units = {
            COST: ("macs", "multiply-adds"),
            LATENCY: ("latency", "ms"),
            ENERGY: ("joules", "J"),
        }
        self.pricers = {
            kind: Pricer(self.scores, _prices(*unit, kind, names, self.costs[kind]))
            for kind, unit in units.items()
        }
        self.points = list(self._listed())

    def _listed(self):
        """(models, {kind: cost or use of B}, right answers)."""
        right = self.scores.correct
        for m in range(3):
            spent = {kind: Fraction(int(each[m])) for kind, each in self.costs.items()}
            yield (m,), spent | {USAGE: Fraction(0)}, int(right[m].sum())
        for a in range(3):
            for b in {0, 1, 2} - {a}:
                for rule in TABLE:
                    images = naive.images_of(self.scores, a, b, rule.score)
                    for point in naive.all_points(rule.score, images, rule.postcheck):
                        use = Fraction(point.usage, self.n)
                        spent = {
                            k: int(each[a]) + use * int(each[b]) for k, each in self.costs.items()
                        }
                        yield (a, b), spent | {USAGE: use}, point.hits

    @property
    def to_match(self):
        """The best single model, of equals the cheapest."""
        right = self.scores.correct.sum(axis=1)
        return min(range(3), key=lambda m: (-right[m], self.costs[COST][m]))

    def goal(self, kind, rng):
        """A limit that an operating point just keeps, or just not."""
        _, spent, right = self.points[rng.integers(len(self.points))]
        if kind == MATCH:
            return Goal(MATCH)
        if kind == ACCURACY:
            return Goal(ACCURACY, min(1.0, max(0.0, (right + int(rng.integers(-1, 2))) / self.n)))
        value = float(spent[kind]) + float(rng.choice([0, 0, 1 / self.n]))
        return Goal(kind, value, pricer=self.pricers[kind] if kind in (LATENCY, ENERGY) else None)

    def keeps(self, goal, point):
        _, spent, right = point
        if goal.kind == MATCH:
            return right >= int(self.scores.correct[self.to_match].sum())
        if goal.kind == ACCURACY:
            return right / self.n >= goal.value
        return spent[goal.kind] <= Fraction(goal.value)

    def within(self, question):
        return [p for p in self.points if all(self.keeps(goal, p) for goal in question.goals)]

    def best(self, question, points):
        """(cost, right) of the best, None of none."""

        def key(point):
            return (point[1][COST], -point[2]) if question.cheapest else (-point[2], point[1][COST])

        found = min(points, key=key, default=None)
        return found and (float(found[1][COST]), found[2])

    def found(self, question):
        costs = costs_of(self.pricers[COST], self.scores)
        return find(self.scores, costs, SPACE, 1, caps_of(question, self.scores))

    def search(self, question):
        plan = FitPlan("other-split", "val", self.scores, ())
        return Search.of(self.scores, plan, self.pricers[COST], SPACE, question)


@pytest.mark.parametrize("kinds", ASKED, ids="+".join)
@given(seed=SEEDS, accurate=st.booleans())
@settings(max_examples=12, deadline=None)
def test_limits_in_every_combination(kinds, seed, accurate):
    """The answer, of each pair, and of models alone, are what a loop over all of them finds."""
    made, rng = Made(seed), np.random.default_rng(seed)
    question = Question.of([made.goal(kind, rng) for kind in kinds], accurate)
    good, found = made.within(question), made.found(question)
    row = found.answer(question)
    told = None if row is None else (float(found.cost[row]), int(found.right[row]))
    assert told == made.best(question, good)
    if row is not None:
        point, here = found.points[row], decide(made.scores, found.points[row])
        assert here.correct.sum() == told[1]
        spent = [int(made.costs[COST][made.scores.index(name)]) for name in point.models]
        assert told[0] == pytest.approx(spent[0] + sum(spent[1:]) * here.usage())

    listed = made.search(question).top(99)
    expected = {}
    for pair in {point[0] for point in good}:
        expected[pair] = made.best(question, [point for point in good if point[0] == pair])
    # What its A alone does is not told again.
    alone = {pair: expected.get(pair[:1]) for pair in expected if len(pair) == 2}
    expected = {pair: best for pair, best in expected.items() if alone.get(pair) != best}
    names = made.scores.models
    got = {
        tuple(names.index(model) for model in each.models): (
            each.fit_cost, round(each.fit_accuracy * made.n)
        )
        for each in listed
    }  # fmt: skip
    assert len(got) == len(listed)
    assert {pair: best for pair, best in got.items() if alone.get(pair) != best} == expected
    ordered = [made.best(question, [((), {COST: c}, r)]) for c, r in got.values()]
    keys = [(c, -r) if question.cheapest else (-r, c) for c, r in ordered]
    assert keys == sorted(keys)


@pytest.mark.parametrize("kinds", [each for each in ASKED if len(each) > 1], ids="+".join)
@given(seed=SEEDS)
@settings(max_examples=6, deadline=None)
def test_what_cannot_be_reached_says_what_can(kinds, seed):
    """Of each limit the best there is among the points that keep the others."""
    made, rng = Made(seed), np.random.default_rng(seed)
    question = Question.of([made.goal(kind, rng) for kind in kinds])
    got = nearest_to_each(question, made.scores, made.pricers[COST], SPACE)
    expected = {}
    for goal in question.goals:
        rest = [other for other in question.goals if other != goal]
        kept = [p for p in made.points if all(made.keeps(other, p) for other in rest)]
        if kept and goal.kind in (ACCURACY, MATCH):
            expected[goal] = max(right for *_, right in kept) / made.n
        elif kept:
            expected[goal] = float(min(spent[goal.kind] for _, spent, _ in kept))
    assert {each.goal: each.found for each in got} == pytest.approx(expected)
    assert [each.off for each in got] == sorted(each.off for each in got)


@given(seed=SEEDS, usage=st.sampled_from([1.0, 0.5, 0.25]), accurate=st.booleans())
@settings(max_examples=25, deadline=None)
def test_one_choice_for_all_devices(seed, usage, accurate):
    """Each device's own is the best there; the one for all keeps every device's limits, and of
    those that do its largest excess is the least."""
    made = Made(seed)
    rng = np.random.default_rng(seed)
    prices = {
        "x": _prices("latency", "ms", "x", made.scores.models, made.costs[LATENCY]),
        "y": _prices("latency", "ms", "y", made.scores.models, made.costs[ENERGY]),
    }
    least = float(np.sort(made.scores.accuracy)[rng.integers(2)])
    most = {"x": 8.0, "y": 7.0}
    goals = {d: [Goal(ACCURACY, least), Goal(USAGE, usage), Goal(COST, most[d])] for d in prices}
    asked = {device: Question.of(each, accurate) for device, each in goals.items()}
    spent_on = {"x": LATENCY, "y": ENERGY}

    def good(devices):
        return [
            (right, [float(spent[spent_on[d]]) for d in prices])
            for pair, spent, right in made.points
            if len(pair) == 2
            and right / made.n >= least
            and spent[USAGE] <= usage
            and all(spent[spent_on[d]] <= most[d] for d in devices)
        ]

    own, plan = {}, FitPlan("other-split", "val", made.scores, ())
    for i, device in enumerate(prices):
        each = good([device])
        if not each:
            with pytest.raises(Exception, match="no cascade on"):
                compare_devices(made.scores, plan, prices, asked, space=SPACE)
            return
        own[device] = min(
            (-right, costs[i]) if accurate else (costs[i], -right) for right, costs in each
        )
    rows = {
        row.device: row for row in compare_devices(made.scores, plan, prices, asked, space=SPACE)
    }
    for device in prices:
        row = rows[device]
        told = (-round(row.fit_accuracy * made.n), row.costs[device])
        assert told == pytest.approx(own[device] if accurate else own[device][::-1])
    shared = good(prices)
    assert (ALL_DEVICES in rows) == bool(shared)
    if shared:
        base = [rows[device].costs[device] for device in prices]
        ranked = [
            (max(c / b for c, b in zip(costs, base, strict=True)), -right)
            for right, costs in shared
        ]
        best = min(r[::-1] for r in ranked) if accurate else min(ranked)[:1]
        row = rows[ALL_DEVICES]
        excess = 1 + max(row.excess.values())
        told = (-round(row.fit_accuracy * made.n), excess) if accurate else (excess,)
        assert told == pytest.approx(best)
