"""The search where each request has its own cost, against loops over every pair, rule and λ."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product

import naive
import numpy as np
import pytest
from helpers import random_scores
from hypothesis import given, settings, strategies as st

from cache import InputError
from stages.cascade import ALWAYS, NEVER, Cascade, decide
from stages.certify import Limits
from stages.costs import Pricer, costs_of, of_each_request
from stages.scores import SCORES
from stages.search import (
    ACCURACY,
    BEST,
    CERTIFY,
    COST,
    MATCH,
    Promise,
    Question,
    Search,
    Space,
    rules,
)
from stages.search.chains import Chain
from stages.search.fitted_frontier import find
from stages.search.guarantee import Shortlist
from stages.search.ranking import nearest
from stages.search.resampling import Resampling
from stages.search.stage import run
from stages.search.testing_order import aim_of, path
from stages.threshold import FitPlan

TABLE = tuple(rules(naive.SCORES))
SEEDS = st.integers(0, 10_000)
SAFE = 7.0


def _made(seed, n=16, levels=5):
    """Scores full of ties and whole costs of each request, some 0; shares of N are exact."""
    rng = np.random.default_rng(seed)
    scores = random_scores(rng, n, levels=levels, models=tuple("abc"))
    each = rng.integers(0, 4, (3, n)) * rng.integers(0, 3, (3, 1))
    return replace(scores, request_costs={"usd": each.astype(float)})


def _costs(scores):
    return costs_of(_pricer(scores), scores)


def _pricer(scores, **how):
    return Pricer(scores, of_each_request(scores, scores.models), **how)


def _everything(scores):
    """(what each request costs, who is right) of every operating point, one by one."""
    each = scores.request_costs["usd"].astype(int).tolist()
    n = range(len(scores.labels))
    for m in range(3):
        yield each[m], tuple(scores.correct[m].tolist())
    for a, b, rule in product(range(3), range(3), TABLE):
        images = naive.images_of(scores, a, b, rule.score)
        for point in naive.all_points(rule.score, images, rule.postcheck) if a != b else ():
            spent = [each[a][i] + (each[b][i] if i in point.sent else 0) for i in n]
            yield spent, point.right


def _unbeaten(scores):
    """(cost, right) that nothing beats, by ascending cost, exactly."""
    n = len(scores.labels)
    points = {(Fraction(sum(spent), n), sum(right)) for spent, right in _everything(scores)}
    best, kept = -1, []
    for cost, right in sorted(points, key=lambda point: (point[0], -point[1])):
        if right > best:
            best, _ = right, kept.append((cost, right))
    return kept


def _under(point, a, b):
    """On or below the line between two other points on either side."""
    if not a[0] < point[0] < b[0]:
        return False
    return point[1] <= a[1] + (point[0] - a[0]) / (b[0] - a[0]) * (b[1] - a[1])


@given(seed=SEEDS, goal=st.integers(0, 16), budget=st.fractions(0, 6, max_denominator=4))
@settings(max_examples=80, deadline=None)
def test_frontier_hull_and_answers_are_those_of_all_points_listed(seed, goal, budget):
    scores = _made(seed)
    found, listed = find(scores, _costs(scores), Space(TABLE), 1), _unbeaten(scores)
    assert list(zip(found.cost.tolist(), found.right.tolist(), strict=True)) == listed
    corners = [p for p in listed if not any(_under(p, a, b) for a in listed for b in listed)]
    assert [listed[i] for i in found.hull] == corners
    rights = scores.correct.sum(axis=1).tolist()
    matched = [(MATCH, None, model, rights[m]) for m, model in enumerate("abc")]
    for kind, value, model, least in (
        (BEST, None, None, listed[-1][1]),
        (ACCURACY, goal / 16, None, goal),
        (MATCH, None, None, max(rights)),
        *matched,
    ):
        enough = [i for i, (_, right) in enumerate(listed) if right >= least]
        expected = enough[0] if enough else None
        assert found.answer(Question(kind, value, model)) == expected
    affordable = [i for i, (cost, _) in enumerate(listed) if cost <= budget]
    expected = affordable[-1] if affordable else None
    assert found.answer(Question(COST, float(budget))) == expected


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_each_point_deployed_does_what_the_frontier_says(seed):
    scores = _made(seed)
    pricer = _pricer(scores)
    found = find(scores, costs_of(pricer, scores), Space(TABLE, stages=3), 1)
    for point, cost, right in zip(found.points, found.cost, found.right, strict=True):
        here = decide(scores, point)
        assert here.correct.sum() == right
        assert pricer.request(point.models, here.stage).value == cost == _loop(scores, point)


def _loop(scores, point):
    stage, each = decide(scores, point).stage, scores.request_costs["usd"]
    rows = [scores.index(model) for model in point.models]
    n = len(stage)
    return sum(each[row, i] for i in range(n) for row in rows[: stage[i] + 1]) / n


# --- answers that are tested ---------------------------------------------------------------------


def _safety(right, reference, margin):
    """Standard errors by which a mean of −1, 0, 1 lies above −margin, one won and one lost more."""
    differences = np.array(right, int) - reference
    n, mean = len(differences), differences.mean()
    variance = max(((differences**2).sum() + 2) / n - mean**2, 1 / n**2)
    return (mean + margin) / math.sqrt(variance / n)


def _spare(spent, budget, mean_b):
    """Standard errors by which the mean is below the budget; one of N at B is drawn more."""
    error = math.sqrt((np.var(spent) + mean_b**2 / len(spent)) / len(spent))
    spare = budget - np.mean(spent)
    return spare / error if error > 0 else math.copysign(math.inf, spare)


@given(seed=SEEDS, kind=st.sampled_from((MATCH, ACCURACY, COST)))
@settings(max_examples=60, deadline=None)
def test_the_path_is_the_front_of_all_points_listed(seed, kind):
    scores = _made(seed)
    costs, n, each = _costs(scores), 16, scores.request_costs["usd"]
    m, nothing = int(scores.correct.sum(axis=1).argmax()), np.zeros(16, int)
    reference, budget = scores.correct[m].astype(int), 2.5
    asked = {
        MATCH: Question(MATCH, within=0.1),
        ACCURACY: Question(ACCURACY, 0.55),
        COST: Question(COST, budget),
    }[kind]
    aim = aim_of(asked, scores, costs, m if kind == MATCH else None)

    def told(spent, right, mean_b=0.0):
        """(value, safety), rounded, so that equal points are equal."""
        if kind == COST:
            value, safety = sum(right), _spare(spent, budget, mean_b)
        else:
            value = -np.mean(spent)
            matched = (reference, 0.1) if kind == MATCH else (nothing, -0.55)
            safety = _safety(right, *matched)
        return round(float(value), 9), round(min(float(safety), SAFE), 9)

    listed = []
    for m_1 in range(3):
        listed.append((each[m_1], scores.correct[m_1], 0.0))
    for a, b, rule in product(range(3), range(3), TABLE):
        images = naive.images_of(scores, a, b, rule.score)
        for point in naive.all_points(rule.score, images, rule.postcheck) if a != b else ():
            ran = np.isin(np.arange(n), list(point.sent))
            listed.append((each[a] + ran * each[b], point.right, each[b].mean()))
    below = costs.alone[m] if kind == MATCH else math.inf
    points = {told(*each) for each in listed if np.mean(each[0]) < below}
    points = {(value, safety) for value, safety in points if safety >= 0}
    front = [p for p in points if not any(_beats(q, p) for q in points)]
    found = []
    for point in path(scores, costs, TABLE, aim):
        here, rows = decide(scores, point), [scores.index(model) for model in point.models]
        spent = costs.spent(rows, here.stage)
        found.append(told(spent, here.correct, costs.alone[rows[1]] if rows[1:] else 0.0))
    assert found == [pytest.approx(p, abs=1e-6) for p in sorted(front)]


def _beats(this, that):
    return this != that and this[0] >= that[0] and this[1] >= that[1]


def test_a_tested_budget_holds_of_the_requests_that_are_drawn():
    """The true mean is above the budget in at most 5 % of the draws, give or take three errors."""
    rng, runs, over = np.random.default_rng(0), 300, 0
    spread = rng.exponential(1.0, (3, 4000)) * np.array([[1], [3], [9]])
    everyone = random_scores(rng, 4000, levels=500, models=tuple("abc"))
    everyone = replace(everyone, request_costs={"usd": spread})
    for _ in range(runs):
        naming, testing = (everyone.of_images(rng.integers(0, 4000, 150)) for _ in range(2))
        plan = FitPlan("other-split", "val", naming, ())
        question = Question(COST, 2.5, confidence=0.95)
        space = Space(tuple(rules(["maxp"], [False])))
        answer = Search.of(testing, plan, _pricer(testing), space, question).decided
        over += answer.target == "MEETS" and _loop(everyone, answer.point) > 2.5
    assert over / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


# --- resamples, chains, certificates -------------------------------------------------------------


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_resample_is_searched_as_if_its_images_were_repeated(seed):
    scores, rng = _made(seed), np.random.default_rng(seed)
    weights = rng.multinomial(16, np.full(16, 1 / 16), size=3).astype(np.int32)
    each = scores.request_costs["usd"]
    for question in (Question(BEST), Question(COST, float(rng.uniform(0, 8)))):
        search = Resampling(scores, _costs(scores), TABLE, question)
        for weight, choice in zip(weights, search.choose(weights), strict=True):
            bag = scores.of_images(np.repeat(np.arange(16), weight))
            found = find(bag, _costs(bag), Space(TABLE), 1)
            row = nearest(question, found.choices(question))
            a, *b = (scores.index(model) for model in search.models(choice.candidate))
            spent = each[a] + sum(each[b]) * choice.escalated
            assert weight @ choice.correct == found.right[row]
            assert weight @ spent / 16 == pytest.approx(found.cost[row])


@pytest.mark.parametrize("name", ["maxp", "entropy"])
@pytest.mark.parametrize("postcheck", [False, True])
@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_the_hull_of_a_chain_is_that_of_all_thresholds(name, postcheck, seed):
    scores = _made(seed, n=8, levels=3)
    each, sure = scores.request_costs["usd"], scores.scores[name]
    chain = Chain(
        SCORES[name], sure, scores.correct, (each[0].mean(), 1.0, 1.0), postcheck, each[1:]
    )
    points = {}
    limits = ([NEVER, *np.unique(sure[m]).tolist(), ALWAYS] for m in (0, 1))
    for pair in product(*limits):
        point = Cascade.of(scores.models, name, *pair, postcheck=postcheck)
        cost, right = _loop(scores, point), int(decide(scores, point).correct.sum())
        points[cost] = max(right, points.get(cost, 0))
    listed = sorted(points.items())
    front = [p for p in listed if not any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in listed)]
    corners = [p for p in front if not any(_under(p, a, b) for a in front for b in front)]
    assert [(p.cost, round(p.accuracy * 8)) for p in chain.hull()] == corners


def test_what_is_certified_costs_what_its_requests_cost(small_cache):
    scores = _made(3, n=600, levels=400)
    scores.correct[2], scores.request_costs["usd"][2] = True, 9.0
    costs = _costs(scores)
    found = Shortlist.of(scores, costs, Space(TABLE)).certified(Promise(Limits(0.3, 0.1)))
    assert len(found.point.models) == 2
    assert found.facts.cost == pytest.approx(_loop(scores, found.point))
    plan = FitPlan("same-split", "test", scores, ())
    search = Search.of(scores, plan, _pricer(scores), Space(TABLE), Question(CERTIFY))
    with pytest.raises(InputError, match="how often B runs"):
        run(small_cache, search, promise=Promise(Limits(0.3, 0.1, cost=50.0)))


# --- rows ----------------------------------------------------------------------------------------


def test_rows_cost_what_their_own_images_do():
    """The fitting images have other costs than those that are reported."""
    fit, reported = replace(_made(1, 200), split="val"), _made(2, 200)
    plan = FitPlan("other-split", "val", fit, ())
    search = Search.of(reported, plan, _pricer(reported), Space(TABLE), Question(BEST))
    each, n = reported.request_costs["usd"], 200
    for i, row in enumerate(search.frontier):
        point = search.found.points[i]
        stage = decide(reported, point).stage
        ran = stage >= np.arange(len(point.models))[:, None]
        spent = (each[[reported.index(model) for model in point.models]] * ran).sum(axis=0)
        assert row.price.cost.value == pytest.approx(spent.mean()) == _loop(reported, point)
        assert row.price.cost.half == pytest.approx(1.959964 * spent.std() / n**0.5)
        assert row.fit_cost == pytest.approx(_loop(fit, point))
    answer, _ = search.answer()
    rows = {row.kind: row for row in search.judge.baselines(answer, search.point)}
    a, b = (reported.index(model) for model in search.point.models)
    oracle = each[a] + each[b] * ~reported.correct[a] * reported.correct[b]
    random = each[a].mean() + answer.usage.value * each[b].mean()
    assert rows["oracle"].price.cost.value == pytest.approx(oracle.mean())
    assert rows["random"].price.cost.value == pytest.approx(random)
