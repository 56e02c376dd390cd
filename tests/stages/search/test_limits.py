"""Limits alone and together, against loops over every model, pair, rule and λ, on small data full
of ties."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import naive
import numpy as np
import pytest
from helpers import random_scores
from hypothesis import given, settings, strategies as st

from cache import InputError
from stages.cascade import decide
from stages.costs import Pricer, Prices, costs_of
from stages.costs.table import flat
from stages.scores import Loss, Nobody, with_nobody
from stages.search import (
    ABSTAINED,
    ACCURACY,
    ALL_DEVICES,
    COST,
    ENERGY,
    LATENCY,
    LOSS,
    MATCH,
    USAGE,
    AnswerPoint,
    Goal,
    OnePair,
    Question,
    Search,
    Space,
    rules,
)
from stages.search.caps import caps_of
from stages.search.devices import compare_devices
from stages.search.fitted_frontier import find
from stages.search.pairs import SearchRule
from stages.search.unreachable import nearest_to_each
from stages.threshold import FitPlan

TABLE = tuple(rules(naive.SCORES))
SPACE = Space(TABLE, third=False)
SEEDS = st.integers(0, 10_000)
OF_RIGHT, OF_COST = (ACCURACY, MATCH), (COST, LATENCY, ENERGY, USAGE)


def combined(kinds):
    return [several for size in (1, 2, 3) for several in combinations(kinds, size)]


ASKED = combined((*OF_RIGHT, *OF_COST))
UNDER_LOSS = combined((LOSS, MATCH, *OF_COST))
UNSURE = [each for each in combined((LOSS, MATCH, *OF_COST, ABSTAINED)) if ABSTAINED in each]


def matrix(rng, scores):
    """Whole numbers, with ties; rows are true."""
    return Loss("whole", 1, rng.integers(0, 4, (3, 3)) * (1 - np.eye(3, dtype=int)))


def decimals(rng, scores):
    """As 0.05, 1.25 and 300 are, in twentieths; some answers that are right cost, too."""
    return Loss("decimals", 20, rng.choice([0, 1, 25, 6000], (3, 3)))


def weights(rng, scores):
    """What missing each class costs."""
    return Loss("weights", 1, np.where(np.eye(3, dtype=bool), 0, rng.integers(1, 20, (3, 1))))


LOSSES = {"matrix": matrix, "decimals": decimals, "weights": weights, "top2": None}


def under(loss, rng, scores):
    """The scores with what each answer earns; the second best class is anybody's guess."""
    if loss == "top2":
        second = rng.integers(0, 2, scores.correct.shape).astype(bool)
        earned = (scores.correct | second).astype(np.int8) - 1
        return replace(scores, earned=earned, loss=Loss("top2", top=2))
    found = LOSSES[loss](rng, scores)
    earned = [
        [
            -int(found.matrix[label][answer])
            for label, answer in zip(scores.labels, row, strict=True)
        ]
        for row in scores.predictions
    ]
    return replace(scores, earned=np.array(earned, np.int16), loss=found)


def _prices(kind, unit, device, models, each):
    curves = {model: flat(float(cost)) for model, cost in zip(models, each, strict=True)}
    return Prices(kind, unit, device, "a test", curves, {})


class Listed(NamedTuple):
    """`spent` on average by kind of cost or as use of B; right answers, or minus what is lost."""

    models: tuple
    spent: dict
    right: int
    rule: object = None


class Made:
    """Three models on 8 or 16 images with whole-number costs of three kinds, and every operating
    point there is, one by one."""

    def __init__(self, seed, loss=None, last=None):
        rng = np.random.default_rng(seed)
        names = ("a", "b", "c")
        self.scores = random_scores(rng, int(rng.choice([8, 16])), levels=5, models=names)
        self.scores = self.scores if loss is None else under(loss, rng, self.scores)
        self.costs = {kind: rng.integers(1, 6, 3) for kind in (COST, LATENCY, ENERGY)}
        self.n = len(self.scores.labels)
        self.last = last
        if last is not None:
            self.scores = with_nobody(self.scores, last)
            paid = {COST: int(last.price)}  # a person keeps no device busy
            self.costs = {k: [*each.tolist(), paid.get(k, 0)] for k, each in self.costs.items()}
        units = {
            COST: ("macs", "multiply-adds"),
            LATENCY: ("latency", "ms"),
            ENERGY: ("joules", "J"),
        }
        self.pricers = {
            kind: Pricer(self._for(kind), _prices(*unit, kind, names, self.costs[kind][:3]))
            for kind, unit in units.items()
        }
        self.points = list(self._listed())

    def _for(self, kind):
        """The scores that a pricer of this kind is of."""
        if self.last is None or kind == COST:
            return self.scores
        return with_nobody(self.scores, replace(self.last, price=0.0, kind=None))

    def _listed(self):
        worth = self.scores.credit.tolist()
        for m in range(3):
            spent = {kind: Fraction(int(each[m])) for kind, each in self.costs.items()}
            none = {USAGE: Fraction(0), ABSTAINED: Fraction(0)}
            yield Listed((m,), spent | none, sum(worth[m]))
        for a in range(3):
            for b in {0, 1, 2, *([3] if self.last else [])} - {a}:
                for rule in TABLE if b < 3 else [rule for rule in TABLE if not rule.postcheck]:
                    images = naive.images_of(self.scores, a, b, rule.score)
                    for threshold in naive.candidates(images):
                        told = [
                            naive.decide(rule.score, image, threshold, rule.postcheck)
                            for image in images
                        ]
                        use = Fraction(sum(ran for ran, _, _ in told), self.n)
                        spent = {
                            k: int(each[a]) + use * int(each[b]) for k, each in self.costs.items()
                        }
                        earned = sum(
                            worth[b if took else a][i] for i, (_, took, _) in enumerate(told)
                        )
                        spent |= {USAGE: use, ABSTAINED: use if b == 3 else Fraction(0)}
                        yield Listed((a, b), spent, earned, rule)

    @property
    def to_match(self):
        """The best single model, of equals the cheapest."""
        right = [sum(row) for row in self.scores.credit.tolist()[:3]]
        return min(range(3), key=lambda m: (-right[m], self.costs[COST][m]))

    def goal(self, kind, rng):
        """A limit that an operating point just keeps, or just not."""
        _, spent, right, _ = self.points[rng.integers(len(self.points))]
        if kind == MATCH:
            return Goal(MATCH)
        if kind == ACCURACY:
            return Goal(ACCURACY, min(1.0, max(0.0, (right + int(rng.integers(-1, 2))) / self.n)))
        if kind == LOSS:
            lost = -right + int(rng.integers(-1, 2))
            return Goal(LOSS, max(0.0, lost / (self.n * self.scores.loss.scale)))
        value = float(spent[kind]) + float(rng.choice([0, 0, 1 / self.n]))
        return Goal(kind, value, pricer=self.pricers[kind] if kind in (LATENCY, ENERGY) else None)

    def keeps(self, goal, point):
        _, spent, right, _ = point
        if goal.kind == MATCH:
            return right >= sum(self.scores.credit.tolist()[self.to_match])
        if goal.kind == LOSS:
            return -right / (self.n * self.scores.loss.scale) <= goal.value
        if goal.kind == ACCURACY:
            return right / self.n >= goal.value
        return spent[goal.kind] <= Fraction(goal.value)

    def within(self, question):
        return [p for p in self.points if all(self.keeps(goal, p) for goal in question.goals)]

    def best(self, question, points):
        """(cost, right) of the best, None of none."""

        def key(point):
            cost, worse = point.spent[COST], -point.right
            return (cost, worse) if question.cheapest else (worse, cost)

        found = min(points, key=key, default=None)
        return found and (float(found.spent[COST]), found.right)

    def worth(self, row):
        """What a row says of the fitting images."""
        loss = self.scores.loss
        if loss is None:
            accuracy = row.fit.fit_accuracy if isinstance(row, AnswerPoint) else row.fit_accuracy
            return round(accuracy * self.n)
        return -round(row.fit_loss * self.n * loss.scale)

    def found(self, question):
        costs = costs_of(self.pricers[COST], self.scores)
        return find(self.scores, costs, SPACE, 1, caps_of(question, self.scores))

    def search(self, question):
        plan = FitPlan("other-split", "val", self.scores, ())
        return Search.of(self.scores, plan, self.pricers[COST], SPACE, question)


@pytest.mark.parametrize("kinds", ASKED, ids="+".join)
@given(seed=SEEDS, accurate=st.booleans())
@settings(max_examples=6, deadline=None)
def test_limits_in_every_combination(kinds, seed, accurate):
    as_listed(Made(seed), kinds, seed, accurate)


@pytest.mark.parametrize("kinds", UNDER_LOSS, ids="+".join)
@given(seed=SEEDS, accurate=st.booleans(), loss=st.sampled_from(sorted(LOSSES)))
@settings(max_examples=6, deadline=None)
def test_the_same_under_a_loss(kinds, seed, accurate, loss):
    as_listed(Made(seed, loss), kinds, seed, accurate)


BEFORE = {
    "abstain": Nobody.abstain(0.25),
    "abstain for free": Nobody.abstain(0.0),
    "human": Nobody.human(0.9, 3.0, "macs"),
}


@pytest.mark.parametrize("kinds", UNSURE, ids="+".join)
@given(
    seed=SEEDS,
    accurate=st.booleans(),
    loss=st.sampled_from([None, *sorted(LOSSES)]),
    last=st.sampled_from(sorted(BEFORE)),
)
@settings(max_examples=6, deadline=None)
def test_the_same_before_nobody(kinds, seed, accurate, loss, last):
    as_listed(Made(seed, loss, BEFORE[last]), kinds, seed, accurate)


def as_listed(made, kinds, seed, accurate):
    """The answer, each pair's and each model's, are what a loop over all of them finds."""
    rng = np.random.default_rng(seed)
    question = Question.of([made.goal(kind, rng) for kind in kinds], accurate)
    good, found = made.within(question), made.found(question)
    row = found.answer(question)
    told = None if row is None else (float(found.cost[row]), int(found.right[row]))
    assert told == made.best(question, good)
    if row is not None:
        point, here = found.points[row], decide(made.scores, found.points[row])
        assert here.credit.sum() == told[1]
        spent = [int(made.costs[COST][made.scores.index(name)]) for name in point.models]
        assert told[0] == pytest.approx(spent[0] + sum(spent[1:]) * here.usage())

    listed = made.search(question).top(99)
    expected = {}
    for pair in {point.models for point in good}:
        expected[pair] = made.best(question, [point for point in good if point.models == pair])
    # What its A alone does is not told again.
    alone = {pair: expected.get(pair[:1]) for pair in expected if len(pair) == 2}
    expected = {pair: best for pair, best in expected.items() if alone.get(pair) != best}
    names = made.scores.models
    got = {
        tuple(names.index(model) for model in each.models): (
            each.fit_cost, made.worth(each)
        )
        for each in listed
    }  # fmt: skip
    assert len(got) == len(listed)
    assert {pair: best for pair, best in got.items() if alone.get(pair) != best} == expected
    ordered = [made.best(question, [Listed((), {COST: c}, r)]) for c, r in got.values()]
    keys = [(c, -r) if question.cheapest else (-r, c) for c, r in ordered]
    assert keys == sorted(keys)
    of_one_pair(made, question, [point for point in good if point.models == (0, 1)])


def of_one_pair(made, question, good):
    """Under each rule that can, its best λ."""
    expected = {
        rule: made.best(question, [point for point in good if point.rule == rule])
        for rule in {point.rule for point in good}
    }
    plan = FitPlan("other-split", "val", made.scores, ())
    asked = OnePair(made.scores, plan, made.pricers[COST], ("a", "b"), question)
    if not expected:
        with pytest.raises(InputError, match="no λ of a → b"):
            asked.answers(TABLE)
        return
    found = {
        SearchRule(row.score, row.postcheck): (row.price.cost.value, made.worth(row))
        for row in asked.answers(TABLE)
    }
    assert found.keys() == expected.keys()
    for rule, (cost, worth) in found.items():
        assert (pytest.approx(cost), worth) == expected[rule]
    told = [(cost, -worth) for cost, worth in map(expected.get, found)]
    ordered = sorted(told) if question.cheapest else sorted(told, key=lambda each: each[::-1])
    assert told == ordered


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
            expected[goal] = max(point.right for point in kept) / made.n
        elif kept:
            expected[goal] = float(min(point.spent[goal.kind] for point in kept))
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
            for pair, spent, right, _ in made.points
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


def test_limits_of_equal_value_are_told_apart_by_their_place():
    made = Made(3)
    goals = [Goal(LATENCY, 5.0, pricer=made.pricers[LATENCY])]
    other = replace(made.pricers[LATENCY].prices, device="elsewhere")
    goals.append(Goal(LATENCY, 5.0, pricer=Pricer(made.scores, other)))
    question = Question.of([Goal(ACCURACY, 0.5), *goals])
    assert question.without(goals[0]).caps == (goals[1],)
    assert (
        str(question)
        == f"min-accuracy 0.5 and max-latency 5.0@{LATENCY} and max-latency 5.0@elsewhere"
    )


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_best_list_has_chains_too(seed):
    """As good as the answer, which may be a chain, and no models twice."""
    made = Made(seed)
    plan = FitPlan("other-split", "val", made.scores, ())
    question = Question.of([Goal(ACCURACY, float(np.median(made.scores.accuracy)))])
    search = Search.of(made.scores, plan, made.pricers[COST], Space(TABLE, 3), question)
    rows = search.top(50)
    found = search.found
    answer = found.answer(question)
    assert (rows[0].fit_cost, made.worth(rows[0])) == (
        pytest.approx(found.cost[answer]), int(found.right[answer])
    )  # fmt: skip
    assert len({row.models for row in rows}) == len(rows)
    assert [row.fit_cost for row in rows] == sorted(row.fit_cost for row in rows)
