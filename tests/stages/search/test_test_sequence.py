"""The path to be tested against listing every operating point, on small data full of ties; what is
told of it against plain loops; and what it promises in simulation."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from helpers import random_scores
from hypothesis import given, settings, strategies as st
from naive import exact_change
from scipy.stats import binomtest

from stages.cascade import Cascade, decide
from stages.costs import ExpectedCosts, Pricer, Prices
from stages.costs.table import Curve
from stages.search import (
    ACCURACY,
    BEST,
    CANNOT_TELL,
    COST,
    MATCH,
    MEETS,
    MISSES,
    Question,
    Search,
    Space,
    rules,
)
from stages.search.testing_order import aim_of, path
from stages.search.verdict import NOT_WORTH, WORTH
from stages.threshold import FitPlan, held_out

TABLE = tuple(rules(naive.SCORES))
SAFE = 7.0


def _made(seed, n=24):
    rng = np.random.default_rng(seed)
    scores = random_scores(rng, n, levels=6, models=tuple("abc"))
    return scores, rng.integers(1, 5, 3).astype(float)


def _everything(scores, costs):
    """(cost, its standard error, who is right) of every operating point, one by one."""
    n = len(scores.labels)
    for m in range(3):
        yield costs[m], 0.0, scores.correct[m].astype(int)
    for a in range(3):
        for b in range(3):
            for rule in TABLE if a != b else ():
                images = naive.images_of(scores, a, b, rule.score)
                for point in naive.all_points(rule.score, images, rule.postcheck):
                    share = point.usage / n
                    error = costs[b] * math.sqrt((share * (1 - share) + 1 / n) / n)
                    yield costs[a] + costs[b] * share, error, np.array(point.right, int)


def _safety(differences, margin):
    """Standard errors by which a mean of −1, 0, 1 lies above −margin, one won and one lost more."""
    n, mean = len(differences), differences.mean()
    variance = max(((differences**2).sum() + 2) / n - mean**2, 1 / n**2)
    return (mean + margin) / math.sqrt(variance / n)


def _front(points):
    """(value, safety) that no other beats in both, the safest first."""
    points = {(value, min(safety, SAFE)) for value, safety in points if safety >= 0}
    kept = [p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)]
    return sorted(kept)


def _of(scores, costs, point):
    found = decide(scores, point)
    alone = [costs[scores.index(name)] for name in point.models]
    shares = [found.usage(j) for j in range(len(alone))]
    error = 0.0
    if len(alone) > 1:
        error = alone[1] * math.sqrt(
            (shares[1] * (1 - shares[1]) + 1 / len(found.stage)) / len(found.stage)
        )
    return float(np.dot(alone, shares)), error, found.correct.astype(int)


SEEDS = st.integers(0, 10_000)


@given(seed=SEEDS, kind=st.sampled_from((MATCH, ACCURACY, COST)))
@settings(max_examples=60, deadline=None)
def test_the_path_is_the_front_of_all_points_listed(seed, kind):
    scores, costs = _made(seed)
    linear = ExpectedCosts.linear(costs, 24)
    m = int(scores.correct.sum(axis=1).argmax())
    reference = scores.correct[m].astype(int)
    goal, budget = 0.55, 2.5
    asked, told = {
        MATCH: (
            Question(MATCH, within=0.1),
            lambda cost, error, right: (-cost, _safety(right - reference, 0.1)),
        ),
        ACCURACY: (
            Question(ACCURACY, goal),
            lambda cost, error, right: (-cost, _safety(right, -goal)),
        ),
        COST: (
            Question(COST, budget),
            lambda cost, error, right: (
                int(right.sum()),
                (budget - cost) / error if error else math.copysign(math.inf, budget - cost or 1),
            ),
        ),
    }[kind]
    listed = [each for each in _everything(scores, costs) if kind != MATCH or each[0] < costs[m]]
    expected = _front(told(*each) for each in listed)
    aim = aim_of(asked, scores, linear, m if kind == MATCH else None)
    found = path(scores, linear, TABLE, aim)
    values = [told(*_of(scores, costs, point)) for point in found]
    assert [(v, min(s, SAFE)) for v, s in values] == [
        (pytest.approx(v, abs=1e-9), pytest.approx(s, abs=1e-9)) for v, s in expected
    ]


def test_a_long_path_keeps_its_ends_and_order():
    rng = np.random.default_rng(1)
    n = 3000
    scores = random_scores(rng, n, levels=10**6, models=tuple("abc"))
    costs = np.array([1.0, 2.0, 9.0])
    linear = ExpectedCosts.linear(costs, n)
    found = path(scores, linear, TABLE, aim_of(Question(ACCURACY, 0.73), scores, linear))
    assert 2 <= len(found) <= 100
    spent = [_of(scores, costs, point)[0] for point in found]
    assert spent == sorted(spent, reverse=True)


def _searched(naming, testing, costs, question, method="other-split"):
    once = [np.array([cost]) for cost in costs]
    curves = {m: Curve(np.array([1]), c, c, c) for m, c in zip(testing.models, once, strict=True)}
    pricer = Pricer(testing, Prices("macs", "multiply-adds", None, "", curves, {}))
    plan = FitPlan(method, naming.split, naming, ("one split",))
    return Search.of(testing, plan, pricer, Space(TABLE), question)


def _lower(won, lost, n, level):
    """The lower limit of a paired difference, by plain formulas."""
    if won + lost < 30:
        return exact_change(won, lost, n, level)[0]
    from statistics import NormalDist

    mean = (won - lost) / n
    z = NormalDist().inv_cdf((1 + level) / 2)
    return mean - z * math.sqrt(((won + lost) / n - mean**2) / n)


def _passes(question, scores, costs, point, reference):
    """The test of one operating point, in a loop over the images."""
    cost, _, right = _of(scores, costs, point)
    n, level = len(right), 2 * (question.confidence or 0.95) - 1
    if question.kind == ACCURACY:
        return binomtest(int(right.sum()), n).proportion_ci(level, "exact").low >= question.value
    if question.kind == COST:
        if len(point.models) == 1:
            return cost <= question.value
        ran = int((decide(scores, point).stage > 0).sum())
        most = binomtest(ran, n).proportion_ci(level, "exact").high
        b = costs[scores.index(point.models[1])]
        return cost + (most - ran / n) * b <= question.value
    won = sum(1 for x, y in zip(right, reference, strict=True) if x > y)
    lost = sum(1 for x, y in zip(right, reference, strict=True) if x < y)
    return _lower(won, lost, n, level) > -question.within


QUESTIONS = {
    "default": Question(),
    "match": Question(MATCH, model="b", within=0.15),
    "match, barely sure": Question(MATCH, model="c", within=0.2, confidence=0.6),
    "accuracy": Question(ACCURACY, 0.72, confidence=0.9),
    "cost": Question(COST, 3.0, confidence=0.8),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_the_answer_is_the_last_that_passes_in_a_loop(question):
    words = set()
    for seed in range(40):
        naming, costs = _made(seed, 48)
        testing, _ = _made(seed + 1000, 60)
        search = _searched(naming, testing, costs, question)
        rights = naming.correct.sum(axis=1)
        m = "abc".index(question.model) if question.model else min(
            range(3), key=lambda i: (-rights[i], costs[i])
        )  # fmt: skip
        reference = testing.correct[m].astype(int)
        if question.kind == ACCURACY and search.found.answer(question) is None:
            continue
        if question.kind == COST and search.found.answer(question) is None:
            continue
        passed = []
        for point in search.test.path:
            if not _passes(question, testing, costs, point, reference):
                break
            passed.append(point)
        row, verdict = search.answer()
        words.add((verdict.target, verdict.worth))
        # The single model that does the same, by the same test.
        alone = [
            i for i, name in enumerate("abc")
            if (question.kind == MATCH and i == m)
            or _passes(question, testing, costs, Cascade.of((name,)), reference)
        ]  # fmt: skip
        right = testing.correct.sum(axis=1)
        cheapest = min(alone, key=lambda i: (costs[i], -right[i]), default=None)
        if question.kind == COST:
            cheapest = min(alone, key=lambda i: (-right[i], costs[i]), default=None)
        if cheapest is not None:
            baseline = "abc".index(row.against.baseline)
            assert (costs[baseline], right[baseline]) == (costs[cheapest], right[cheapest])
        if passed:
            expected = passed[-1]
            # A model alone that passes and costs no more where the path was named.
            if cheapest is not None and question.kind != COST:
                spent = _of(naming, costs, expected)[0]
                expected = expected if costs[cheapest] > spent else row.model_1
            if isinstance(expected, str):
                assert search.point.models == (expected,)
                assert costs["abc".index(expected)] == costs[cheapest]
            else:
                assert search.point == expected
            assert (verdict.target, row.selected) == (MEETS, True)
            continue
        assert not row.selected
        assert search.point == search.found.points[search.found.answer(question)]
        if question.kind == MATCH:
            assert verdict.target == _told(question, testing, search.point, m, reference)
    assert len(words) > 1


def _told(question, scores, point, m, reference):
    """Of what passed no test."""
    if point.models == ("abc"[m],):
        return MEETS
    right = decide(scores, point).correct.astype(int)
    d = right - reference
    level = 2 * question.sure - 1
    upper = -_lower(int((d < 0).sum()), int((d > 0).sum()), len(d), level)
    return MISSES if upper <= -question.within else CANNOT_TELL


def test_one_split_is_held_out():
    """30 % name, the others test, and are what is reported."""
    scores, costs = _made(5, 200)
    search = _searched(scores, scores, costs, Question(), "cross-fit")
    plan, testing = held_out(FitPlan("cross-fit", "test", scores, ("",)))
    assert (search.plan.method, len(search.plan.scores.labels)) == ("hold-out", 60)
    assert sorted([*plan.scores.sample_ids, *testing.sample_ids]) == list(range(200))
    assert search.reported.sample_ids.tolist() == testing.sample_ids.tolist()
    row, _ = search.answer()
    found = decide(testing, search.point)
    assert (row.n, row.accuracy.value) == (140, found.correct.mean())
    assert search.crossfitted is None


def test_images_that_chose_cannot_test():
    scores, _ = _made(3, 200)
    search = _searched(
        scores, scores, np.array([1.0, 2.0, 9.0]), Question(within=0.3), "same-split"
    )
    _, verdict = search.answer()
    assert verdict.target == CANNOT_TELL
    assert verdict.chose


@given(seed=SEEDS, kind=st.sampled_from((BEST, ACCURACY, COST, MATCH)))
@settings(max_examples=60, deadline=None)
def test_worth_it_only_where_the_target_is_met_and_no_model_is_as_good(seed, kind):
    naming, costs = _made(seed, 80)
    testing, _ = _made(seed + 1, 100)
    question = {
        BEST: Question(BEST), ACCURACY: Question(ACCURACY, 0.5), COST: Question(COST, 4.0),
        MATCH: Question(within=0.2),
    }[kind]  # fmt: skip
    search = _searched(naming, testing, costs, question)
    row, verdict = search.answer()
    alone = list(zip(costs, testing.accuracy, strict=True))
    beaten = any(c <= row.price.cost.value and a >= row.accuracy.value for c, a in alone)
    better = row.against.accuracy_change.low > 0 and kind != MATCH
    cheaper = row.price.saved.low > 0 and kind in (ACCURACY, MATCH)
    expected = verdict.target == MEETS and not beaten and (better or cheaper)
    assert (verdict.worth == WORTH) == (expected and len(search.point.models) > 1)
    if beaten or verdict.target == MISSES:
        assert verdict.worth == NOT_WORTH
