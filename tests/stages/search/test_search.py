"""The search against naive loops over every model, pair, rule and λ, on small data full of ties."""

from __future__ import annotations

from fractions import Fraction

import naive
import numpy as np
import pytest
from helpers import random_scores
from hypothesis import given, settings, strategies as st

from stages.cascade import Cascade, decide
from stages.costs import ExpectedCosts, pareto, upper_hull
from stages.search import ACCURACY, BEST, COST, MATCH, Question, Space, rules
from stages.search.fitted_frontier import Found, find
from stages.search.pairs import frontier
from stages.search.ranking import nearest, single
from stages.search.resampling import Resampling

TABLE = tuple(rules(naive.SCORES))
SEEDS = st.integers(0, 10_000)


def _made(seed, models=3, n=None):
    """A small ScoreSet and whole-number costs, some of them equal; shares of N are exact."""
    rng = np.random.default_rng(seed)
    names = tuple("abcd"[:models])
    scores = random_scores(rng, n or int(rng.choice([2, 4, 8, 16])), levels=5, models=names)
    return scores, rng.integers(1, 5, models)


def _everything(scores, costs):
    """(cost, right, who is right) of every operating point there is: exact, one by one."""
    n = len(scores.labels)
    for m in range(len(costs)):
        right = tuple(scores.correct[m].tolist())
        yield Fraction(int(costs[m])), sum(right), right
    for a in range(len(costs)):
        for b in range(len(costs)):
            for rule in TABLE if a != b else ():
                images = naive.images_of(scores, a, b, rule.score)
                for point in naive.all_points(rule.score, images, rule.postcheck):
                    cost = int(costs[a]) + Fraction(int(costs[b]) * point.usage, n)
                    yield cost, point.hits, point.right


def _unbeaten(points):
    """By ascending cost, those that nothing beats: {(cost, right): the outcomes that reach it}."""
    points = list(points)
    kept = {}
    for cost, right, who in points:
        beaten = any(c <= cost and r >= right and (c, r) != (cost, right) for c, r, _ in points)
        if not beaten:
            kept.setdefault((cost, right), set()).add(who)
    return dict(sorted(kept.items()))


def _found(scores, costs, threads=1):
    n = len(scores.labels)
    return find(scores, ExpectedCosts.linear(costs.astype(float), n), Space(TABLE), threads)


@given(seed=SEEDS)
@settings(max_examples=60)
def test_the_frontier_is_that_of_all_points_listed(seed):
    scores, costs = _made(seed)
    found = _found(scores, costs)
    expected = list(_unbeaten(_everything(scores, costs)))
    assert found.right.tolist() == [right for _, right in expected]
    assert found.cost.tolist() == pytest.approx([float(cost) for cost, _ in expected])


@given(seed=SEEDS)
@settings(max_examples=60)
def test_each_point_deployed_does_what_the_frontier_says(seed):
    scores, costs = _made(seed)
    found = _found(scores, costs)
    for point, cost, right in zip(found.points, found.cost, found.right, strict=True):
        here = decide(scores, point)
        a, *b = (scores.index(model) for model in point.models)
        assert here.correct.sum() == right
        assert cost == pytest.approx(costs[a] + sum(costs[b]) * here.usage())


@pytest.mark.parametrize("seed", range(5))
def test_threads_and_equal_models_make_no_difference(seed):
    scores, costs = _made(seed, models=4, n=300)
    one, two = (
        frontier(scores, ExpectedCosts.linear(costs.astype(float), 300), TABLE, threads).points
        for threads in (1, 2)
    )
    assert one.right.tolist() == two.right.tolist()
    assert one.cost.tolist() == two.cost.tolist()


def _listed(seed):
    scores, costs = _made(seed)
    return scores, _found(scores, costs), _unbeaten(_everything(scores, costs))


@given(seed=SEEDS, value=st.fractions(0, 1, max_denominator=30))
@settings(max_examples=60)
def test_min_accuracy_is_the_cheapest_that_reaches_it(seed, value):
    scores, found, listed = _listed(seed)
    n = len(scores.labels)
    enough = [cost for cost, right in listed if right / n >= float(value)]
    row = found.answer(Question(ACCURACY, float(value)))
    assert (row is None) == (not enough)
    assert not enough or found.cost[row] == pytest.approx(float(min(enough)))


@given(seed=SEEDS, quarters=st.integers(0, 40))
@settings(max_examples=60)
def test_max_cost_is_the_most_accurate_within_it(seed, quarters):
    _, found, listed = _listed(seed)
    budget = quarters / 4 + 1e-9
    within = [right for cost, right in listed if cost <= budget]
    row = found.answer(Question(COST, budget))
    assert (row is None) == (not within)
    assert not within or found.right[row] == max(within)


@given(seed=SEEDS)
@settings(max_examples=60)
def test_match_and_best_by_their_estimates(seed):
    scores, found, listed = _listed(seed)
    rights = scores.correct.sum(axis=1).tolist()
    prices = found.prices.tolist()
    best = min(range(3), key=lambda m: (-rights[m], prices[m]))
    for model, matched in (("a", 0), ("b", 1), ("c", 2), (None, best)):
        row = found.answer(Question(MATCH, model=model))
        expected = min(cost for cost, hits in listed if hits >= rights[matched])
        assert found.cost[row] == pytest.approx(float(expected))
    row = found.answer(Question(BEST))
    most = max(right for _, right in listed)
    cheapest = min(cost for cost, right in listed if right == most)
    assert (found.right[row], found.cost[row]) == (most, pytest.approx(float(cheapest)))


@given(seed=SEEDS, goal=st.integers(0, 16), budget=st.integers(0, 6))
@settings(max_examples=80)
def test_the_single_model_that_one_would_deploy_instead(seed, goal, budget):
    """By listing the models: of those that do what is asked the cheapest, or within a cost the most
    accurate; where none does, the most accurate; of equals the cheaper."""
    scores, found, _ = _listed(seed)
    n = len(scores.labels)
    models = list(
        zip(scores.correct.sum(axis=1).tolist(), found.prices.tolist(), range(3), strict=True)
    )
    accurate = min(models, key=lambda m: (-m[0], m[1]))
    reaching = [m for m in models if m[0] / n >= goal / n]
    within = [m for m in models if m[1] <= budget]
    for question, fit, key in (
        (Question(BEST), models, lambda m: (-m[0], m[1])),
        (Question(MATCH), [accurate], lambda m: m),
        (Question(MATCH, model="b"), models[1:2], lambda m: m),
        (Question(ACCURACY, goal / n), reaching, lambda m: (m[1], -m[0])),
        (Question(COST, float(budget)), within, lambda m: (-m[0], m[1])),
    ):
        row, reached = single(question, found.choices(question))
        assert reached == bool(fit)
        expected = min(fit, key=key) if fit else accurate
        assert models[row][:2] == expected[:2]


@given(points=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=15))
def test_pareto_and_hull_against_their_definitions(points):
    cost, right = (np.array(column) for column in zip(*points, strict=True))
    rows = pareto(cost.astype(float), right)
    kept = {(c, r) for c, r in points if not any(_beats(p, (c, r)) for p in points)}
    assert [(int(cost[i]), int(right[i])) for i in rows] == sorted(kept)
    front = sorted(kept)
    corners = upper_hull(*(np.array(column, float) for column in zip(*front, strict=True)))
    expected = [p for p in front if not any(_under(p, a, b) for a in front for b in front)]
    assert [front[i] for i in corners] == expected


def _beats(this, that):
    return this != that and this[0] <= that[0] and this[1] >= that[1]


def _under(point, a, b):
    """On or below the line between two other points on either side."""
    if not a[0] < point[0] < b[0]:
        return False
    share = Fraction(point[0] - a[0], b[0] - a[0])
    return point[1] <= a[1] + share * (b[1] - a[1])


# --- in resamples --------------------------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=80)
def test_a_resample_is_searched_as_if_its_images_were_repeated(seed):
    scores, costs = _made(seed, n=16)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(16, np.full(16, 1 / 16), size=3).astype(np.int32)
    alone = costs.astype(float)
    budget = float(rng.uniform(1, 8))
    for question in (Question(BEST), Question(COST, budget), Question(ACCURACY, 0.7)):
        search = Resampling(scores, ExpectedCosts.linear(alone, 16), TABLE, question)
        for weight, choice in zip(weights, search.choose(weights), strict=True):
            bag = scores.of_images(np.repeat(np.arange(16), weight))
            found = _found(bag, costs)
            row = nearest(question, found.choices(question))
            models = search.models(choice.candidate)
            a, *b = (scores.index(model) for model in models)
            spent = costs[a] + sum(costs[b]) * (weight @ choice.escalated) / 16
            assert weight @ choice.correct == found.right[row]
            assert spent == pytest.approx(found.cost[row])


def test_a_resample_of_every_image_once_answers_as_the_search():
    for seed in range(30):
        scores, costs = _made(seed, n=200)
        linear = ExpectedCosts.linear(costs.astype(float), 200)
        found = _found(scores, costs)
        row = found.answer(Question(BEST))
        search = Resampling(scores, linear, TABLE, Question(BEST))
        [choice] = search.choose(np.ones((1, 200), np.int32))
        assert choice.correct.sum() == found.right[row]
        here = decide(scores, found.points[row])
        if search.models(choice.candidate) == found.points[row].models:
            assert choice.escalated.sum() == (here.stage > 0).sum()


# --- operating points ----------------------------------------------------------------------------


@given(seed=SEEDS, postcheck=st.booleans(), name=st.sampled_from(naive.SCORES))
def test_a_chain_is_decided_image_by_image(seed, postcheck, name):
    scores, _ = _made(seed)
    limits = np.random.default_rng(seed).integers(0, 6, 2) / 5
    point = Cascade.of(("a", "b", "c"), name, *limits, postcheck=postcheck)
    found = decide(scores, point)
    for i in range(len(scores.labels)):
        stage, right = _chained(scores, name, postcheck, limits, i)
        assert (found.stage[i], found.correct[i]) == (stage, right)


def _chained(scores, name, postcheck, limits, i):
    """(models that ran after the first, whether the answer is right), model after model."""
    sure = [scores.score(name, m)[i] for m in range(3)]
    answer = 0
    for j, limit in enumerate(limits):
        trusted = sure[j] <= limit if name == "entropy" else sure[j] >= limit
        if trusted:
            return j, scores.correct[answer][i]
        if not postcheck or naive.is_surer(name, sure[j + 1], sure[answer]):
            answer = j + 1
    return 2, scores.correct[answer][i]


def test_chains_join_the_frontier_and_do_what_it_says():
    longer = 0
    for seed in range(12):
        scores, _ = _made(seed, n=150)
        costs = ExpectedCosts.linear(np.array([1.0, 3.0, 9.0]), 150)
        pairs: Found = find(scores, costs, Space(TABLE), 1)
        found = find(scores, costs, Space(TABLE, stages=3), 1)
        for point, cost, right in zip(found.points, found.cost, found.right, strict=True):
            here = decide(scores, point)
            spent = [costs.alone[scores.index(model)] for model in point.models]
            shares = [here.usage(j) for j in range(len(spent))]
            assert here.correct.sum() == right
            assert cost == pytest.approx(np.dot(spent, shares))
            longer += len(point.models) == 3
        for cost, right in zip(pairs.cost, pairs.right, strict=True):
            assert any((found.cost <= cost + 1e-9) & (found.right >= right))
    assert longer > 10
