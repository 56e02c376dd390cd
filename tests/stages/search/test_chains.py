"""Chains of three models against every pair of thresholds, on data with many ties."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from stages.cascade import ALWAYS, NEVER
from stages.scores import SCORES
from stages.search.chains import Chain, chain_candidates
from stages.search.prefix_tree import PrefixTree

A_SCORE = st.sampled_from([0.0, 0.25, math.nextafter(0.25, 1), 0.5, 0.75, 1.0])
THREE_SCORES = st.tuples(A_SCORE, A_SCORE, A_SCORE)
IMAGES = st.lists(
    st.tuples(THREE_SCORES, st.tuples(st.booleans(), st.booleans(), st.booleans())),
    min_size=1,
    max_size=14,
)
COSTS = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9))
CASES = [(name, postcheck) for name in ("maxp", "entropy") for postcheck in (False, True)]


def _chain(name, images, costs, postcheck):
    scores, correct = (np.array(column).T for column in zip(*images, strict=True))
    return Chain(SCORES[name], scores, correct, costs, postcheck)


def _surer(name, s, other):
    return s < other if name == "entropy" else s > other


def _stands(name, s, threshold):
    """By the text of the rule: s ≥ λ, for entropy s ≤ λ."""
    if isinstance(threshold, str):
        return threshold == NEVER
    return s <= threshold if name == "entropy" else s >= threshold


def _answered(name, image, threshold_a, threshold_b, postcheck):
    """(right, stage) of one image."""
    (s_a, s_b, s_c), (right_a, right_b, right_c) = image
    if _stands(name, s_a, threshold_a):
        return right_a, 0
    held, right = s_a, right_a
    if not postcheck or _surer(name, s_b, held):
        held, right = s_b, right_b
    if _stands(name, s_b, threshold_b):
        return right, 1
    if not postcheck or _surer(name, s_c, held):
        right = right_c
    return right, 2


def _outcome(name, images, costs, postcheck, thresholds):
    """(summed cost, right answers, images at B, images at C)."""
    answers = [_answered(name, image, *thresholds, postcheck) for image in images]
    k_b = sum(stage >= 1 for _, stage in answers)
    k_c = sum(stage == 2 for _, stage in answers)
    cost = len(images) * costs[0] + k_b * costs[1] + k_c * costs[2]
    return cost, sum(right for right, _ in answers), k_b, k_c


def _all_outcomes(name, images, costs, postcheck):
    levels = [sorted({image[0][m] for image in images}) for m in (0, 1)]
    pairs = product([NEVER, *levels[0], ALWAYS], [NEVER, *levels[1], ALWAYS])
    return {_outcome(name, images, costs, postcheck, pair) for pair in pairs}


def _naive_hull(points):
    """Vertices of the upper hull up to the highest, by exact slopes: gift wrapping."""
    right_at = {}
    for cost, right, *_ in points:
        right_at[cost] = max(right, right_at.get(cost, right))
    at = min(right_at)
    hull = [(at, right_at[at])]
    while True:
        ahead = [c for c in right_at if c > at and right_at[c] > right_at[at]]
        if not ahead:
            return hull
        here, base = right_at[at], at
        at = max(ahead, key=lambda c: (Fraction(right_at[c] - here, c - base), c))
        hull.append((at, right_at[at]))


@pytest.mark.parametrize(("name", "postcheck"), CASES)
@given(images=IMAGES, costs=COSTS)
@settings(max_examples=80)
def test_the_hull_is_that_of_all_thresholds(name, postcheck, images, costs):
    chain = _chain(name, images, costs, postcheck)
    n = len(images)
    expected = _naive_hull(_all_outcomes(name, images, costs, postcheck))
    found = chain.hull()
    assert [(round(p.cost * n), round(p.accuracy * n)) for p in found] == expected


@pytest.mark.parametrize(("name", "postcheck"), CASES)
@given(images=IMAGES, costs=COSTS)
@settings(max_examples=60)
def test_thresholds_decide_as_their_point_says(name, postcheck, images, costs):
    """From the middle of their intervals, and from the included ends."""
    chain, n = _chain(name, images, costs, postcheck), len(images)
    for point in chain.hull():
        included = [each.low if name == "entropy" else each.high for each in point.limits]
        middle = [each.threshold for each in point.limits]
        ends = tuple(m if e is None else e for m, e in zip(middle, included, strict=True))
        said = (point.cost * n, point.accuracy * n, point.usage_b * n, point.usage_c * n)
        for pair in (middle, ends):
            assert said == pytest.approx(_outcome(name, images, costs, postcheck, pair))


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(-1, 1)), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.2, 0.7, 2.0]),
)
@settings(max_examples=150)
def test_the_tree_knows_the_best_prefix_after_each_insertion(items, price):
    ranks = np.unique([rank for rank, _ in items], return_inverse=True)[1].astype(np.int64)
    gains = np.array([gain for _, gain in items], np.int64)
    tree = PrefixTree(ranks, gains)
    best = tree.best(price)
    for t in range(len(items) + 1):
        prefixes = [
            [gains[i] for i in range(t) if ranks[i] < below] for below in range(max(ranks) + 2)
        ]
        worth = [sum(prefix) - price * len(prefix) for prefix in prefixes]
        assert t == 0 or best[t - 1] == pytest.approx(max(worth), abs=1e-12)
        count, gained, _ = tree.prefix_after(t, price)
        assert gained - price * count == pytest.approx(max(worth), abs=1e-12)
        assert (count, gained) in [(len(prefix), sum(prefix)) for prefix in prefixes]


def test_points_on_an_edge_are_no_vertices():
    """B and C cost the same and scores hardly tie, so that many points lie on one edge."""
    rng, n, costs = np.random.default_rng(1), 15, (2, 1, 1)
    for _ in range(80):
        scores = rng.random((n, 3)).round(2)
        correct = rng.random((n, 3)) < (0.2, 0.5, 0.8)
        images = list(zip(scores.tolist(), correct.tolist(), strict=True))
        hull = _chain("maxp", images, costs, False).hull()
        found = [(round(p.cost * n), round(p.accuracy * n)) for p in hull]
        assert found == _naive_hull(_all_outcomes("maxp", images, costs, False))


def test_many_images_against_a_table_of_all_pairs():
    """2,000 images and real-valued costs: the whole table of (k, prefix) by cumulative sums."""
    rng, n, costs = np.random.default_rng(3), 2000, (0.07, 0.31, 1.13)
    scores = np.round(rng.random((3, n)), 2)
    correct = rng.random((3, n)) < np.clip(scores + np.array([[0.0], [0.1], [0.3]]), 0, 1)
    chain = Chain(SCORES["maxp"], scores, correct, costs)
    levels = np.round(np.arange(102) / 100, 2)
    to_b = scores[0] < levels[:, None]
    to_c = scores[1] < levels[:, None]
    gain = correct.astype(float)
    k_b, k_c = to_b.sum(axis=1)[:, None], to_b.astype(float) @ to_c.T
    right = (
        gain[0].sum()
        + (to_b @ (gain[1] - gain[0]))[:, None]
        + (to_b * (gain[2] - gain[1])) @ to_c.T
    )
    cost = n * costs[0] + k_b * costs[1] + k_c * costs[2]
    hull = chain.hull()
    assert len(hull) > 10
    for low, high in pairwise(hull):
        slope = (high.accuracy - low.accuracy) / (high.cost - low.cost)
        best = (right / n - slope * cost / n).max()
        assert low.accuracy - slope * low.cost == pytest.approx(best, abs=1e-9)
        assert high.accuracy - slope * high.cost == pytest.approx(best, abs=1e-9)
    assert hull[-1].accuracy * n == pytest.approx(right.max())
    assert hull[0].cost == pytest.approx(costs[0])


def test_a_chain_that_never_needs_c_is_its_pair():
    """C always wrong: the hull is that of the pair's own sweep."""
    rng, n = np.random.default_rng(4), 400
    scores = np.round(rng.random((3, n)), 2)
    correct = np.stack([rng.random(n) < scores[0], rng.random(n) < 0.9, np.zeros(n, bool)])
    hull = Chain(SCORES["maxp"], scores, correct, (1, 2, 3)).hull()
    assert {point.usage_c for point in hull} == {0.0}
    assert {point.limits[1].threshold for point in hull} == {NEVER}
    swept = {
        (400 + 2 * k.sum(), np.where(k, correct[1], correct[0]).sum())
        for k in (scores[0] < level for level in (*np.unique(scores[0]), 2.0))
    }
    found = [(round(p.cost * n), round(p.accuracy * n)) for p in hull]
    assert found == _naive_hull([(int(c), int(r)) for c, r in swept])


def test_costs_must_be_known():
    with pytest.raises(ValueError, match="costs must be above 0"):
        Chain(SCORES["maxp"], np.zeros((3, 1)), np.zeros((3, 1), bool), (1.0, 0.0, 2.0))


def test_chains_come_from_pairs_on_the_frontier():
    costs = {"s": 1.0, "m": 2.0, "l": 3.0, "x": 9.0}
    pairs = [("s", "m"), ("m", "l"), ("s", "l"), ("s", "x")]
    found = chain_candidates(pairs, costs)
    assert found == [("s", "m", "l"), ("s", "m", "x"), ("s", "l", "x")]
    assert chain_candidates(pairs, costs, most=1) == [("s", "m", "l")]
    assert chain_candidates([("s", "m")], costs) == []
    # A step to a cheaper model only where the frontier says so.
    assert chain_candidates([("s", "x"), ("x", "m")], costs) == [("s", "x", "m")]
