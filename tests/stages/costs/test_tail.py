"""What each request costs, and which cost more than a budget, against loops over the requests."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from helpers import MODELS, random_scores
from hypothesis import given, settings, strategies as st

from stages import costs
from stages.costs import Pricer, Prices, of_each_request
from stages.costs.table import Curve
from stages.costs.tail import cost_of_each, over_budget

# None of them a sum of powers of two.
CENTS = ("0.1", "0.2", "0.3", "0.7", "1.1")
RAN = st.lists(st.integers(-1, 2), min_size=1, max_size=40)


def curve(points):
    values, sizes = np.array([*points.values()], float), np.array([*points])
    return Curve(sizes, values, values, values)


def pricer(n, forward, kind="latency", preprocess=None, **how):
    scores = random_scores(np.random.default_rng(0), n)
    made = {model: curve(points) for model, points in forward.items()}
    ready = {model: curve(points) for model, points in (preprocess or {}).items()}
    prices = Prices(kind, costs.UNITS[kind], "desk", "a test", made, ready)
    return Pricer(scores, prices, preprocess=bool(ready), **how)


def of_batch(points, n):
    """Linear between the measured sizes and from nothing, per image beyond."""
    known = [(0, 0.0), *points.items()]
    for (x0, y0), (x1, y1) in pairwise(known):
        if x0 <= n < x1:
            return y0 + (n - x0) * (y1 - y0) / (x1 - x0)
    return n * known[-1][1] / known[-1][0]


@given(
    RAN,
    st.lists(st.dictionaries(st.integers(1, 9), st.floats(0.1, 9), min_size=1), min_size=3,
             max_size=3),
    st.integers(1, 12),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=150)
def test_requests_of_a_batch_share_what_it_costs(ran, curves, size, decodes):
    """Their mean is the bill's."""
    forward = {
        model: dict(sorted(points.items())) for model, points in zip(MODELS, curves, strict=True)
    }
    more = {"preprocess": {"small": {1: 0.5}}} if decodes else {}
    stage, one = np.array(ran), pricer(len(ran), forward, batch_size=size, hash_cost=0.25, **more)
    expected = []
    for i in range(len(ran)):
        first = i - i % size
        spent = 0.25 + 0.5 * decodes
        for j, model in enumerate(MODELS[: ran[i] + 1]):
            together = sum(other >= j for other in ran[first : first + size])
            spent += of_batch(forward[model], together) / together
        expected.append(spent)
    found = cost_of_each(one, MODELS, stage, True)
    assert found == pytest.approx(expected)
    assert found.mean() == pytest.approx(one.bill(MODELS, stage, True).total.value)


@given(RAN, st.lists(st.sampled_from(CENTS), min_size=3, max_size=3), st.data())
@settings(max_examples=150)
def test_what_costs_just_the_budget_is_not_over_it(ran, cents, data):
    """In exact fractions; the budget is what some request may cost, or a hair less or more."""
    sums = [sum(map(Fraction, cents[: j + 1]), Fraction(0)) for j in range(3)]
    hair = data.draw(st.sampled_from(["0", "1e-9", "-1e-9"]))
    budget = data.draw(st.sampled_from(sums)) + Fraction(hair)
    forward = {model: {1: float(each)} for model, each in zip(MODELS, cents, strict=True)}
    one = pricer(len(ran), forward, budget=float(budget))
    found = over_budget(one, MODELS, np.array(ran))
    assert found.tolist() == [bool(j >= 0 and sums[j] > budget) for j in ran]


@given(RAN, st.integers(0, 10_000), st.data())
@settings(max_examples=150)
def test_so_with_costs_of_each_request(ran, seed, data):
    rng = np.random.default_rng(seed)
    cents = rng.choice(CENTS, (3, len(ran)))
    sums = [
        sum((Fraction(str(cents[j, i])) for j in range(last + 1)), Fraction(0))
        for i, last in enumerate(ran)
    ]
    budget = data.draw(st.sampled_from(sums))
    scores = random_scores(rng, len(ran))
    scores = replace(scores, request_costs={"usd": cents.astype(float)})
    one = Pricer(scores, of_each_request(scores, MODELS), budget=float(budget))
    found = over_budget(one, MODELS, np.array(ran))
    assert found.tolist() == [spent > budget for spent in sums]
    assert cost_of_each(one, MODELS, np.array(ran)) == pytest.approx([float(x) for x in sums])


def test_multiply_adds_are_counted_one_by_one():
    forward, ran = {"small": {1: 4e10}, "large": {1: 1.0}}, np.array([0, 1, 1, 0])
    found = over_budget(pricer(4, forward, "macs", budget=4e10), ("small", "large"), ran)
    assert found.tolist() == [False, True, True, False]


def test_without_a_budget_or_a_known_cost_nothing_is_told():
    ran, forward = np.array([0, -1, 1]), {"small": {1: 1.0}, "large": {1: 2.0}}
    assert over_budget(pricer(3, forward), ("small", "large"), ran) is None
    one = pricer(3, forward, budget=1.0)
    assert over_budget(one, ("small", "large"), ran, True) is None  # hashing is not known
    assert over_budget(replace(one, hash_cost=0.1), ("small", "large"), ran, True).sum() == 2


def test_all_share_what_a_waiting_device_draws():
    busy = Prices("latency", "ms", "desk", "", {"small": curve({1: 10.0})}, {})
    prices = Prices("joules", "J", "desk", "", {"small": curve({1: 1.0})}, {}, busy, idle_w=8.0)
    scores = random_scores(np.random.default_rng(0), 10)
    one = Pricer(scores, prices, arrival_rate=10.0)
    assert cost_of_each(one, ("small",), np.zeros(10, int)) == pytest.approx(1 + 0.09 * 8)
