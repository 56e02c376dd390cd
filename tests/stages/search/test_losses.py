"""Frontier, chains, resampling and cross-fitting under a loss, against naive loops in fractions."""

from __future__ import annotations

from fractions import Fraction

import naive
import numpy as np
import pytest
from helpers import LOSS_TEXTS, loss_matrix, loss_of, random_scores, worth_of
from hypothesis import HealthCheck, given, settings, strategies as st

from stages.cascade import Cascade, decide
from stages.costs import ExpectedCosts
from stages.scores import SCORES, with_loss
from stages.search import BEST, Question, Space, rules
from stages.search.chains import Chain
from stages.search.crossfit import cross_fitted
from stages.search.fitted_frontier import find
from stages.search.pairs import frontier
from stages.search.resampling import Resampling
from stages.statistics import procedure
from stages.threshold import FOLDS, REPEATS, folds

TABLE = tuple(rules(naive.SCORES))
SEEDS = st.integers(0, 10_000)
KINDS = st.sampled_from(sorted(LOSS_TEXTS))
EXAMPLES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _made(folder, kind, seed, n=None, levels=5):
    rng = np.random.default_rng(seed)
    scores = random_scores(rng, n or int(rng.choice([2, 4, 8, 16])), levels, tuple("abc"))
    return with_loss(None, scores, loss_of(kind, folder)), rng.integers(1, 5, 3)


def _worth(scores, kind, m):
    worth = worth_of(kind)
    each = zip(scores.labels.tolist(), scores.predictions[m].tolist(), strict=True)
    return [worth(label, answer) for label, answer in each]


def _everything(scores, kind, costs):
    """(cost, worth) of every operating point there is: exact, one by one."""
    n = len(scores.labels)
    for a in range(len(costs)):
        yield Fraction(int(costs[a])), sum(_worth(scores, kind, a))
        for b in range(len(costs)):
            for rule in TABLE if a != b else ():
                images = naive.images_of(scores, a, b, rule.score)
                points = naive.all_points(rule.score, images, rule.postcheck, worth=worth_of(kind))
                for point in points:
                    yield int(costs[a]) + Fraction(int(costs[b]) * point.usage, n), point.hits


def _unbeaten(points):
    best, out = None, []
    for cost, worth in sorted(set(points), key=lambda p: (p[0], -p[1])):
        if best is None or worth > best:
            best = worth
            out.append((cost, worth))
    return out


@given(seed=SEEDS, kind=KINDS)
@EXAMPLES
def test_the_frontier_is_that_of_all_points_listed(tmp_path, seed, kind):
    scores, costs = _made(tmp_path, kind, seed)
    expected = _unbeaten(_everything(scores, kind, costs))
    expected_costs = ExpectedCosts.linear(costs.astype(float), len(scores.labels))
    found = find(scores, expected_costs, Space(TABLE), 1)
    assert found.right.tolist() == [worth * scores.loss.scale for _, worth in expected]
    assert found.cost.tolist() == pytest.approx([float(cost) for cost, _ in expected])
    for point, right in zip(found.points, found.right.tolist(), strict=True):
        assert decide(scores, point).credit.astype(np.int64).sum() == right


@pytest.mark.parametrize("kind", ["whole", "int32"])
def test_large_sets_are_searched_block_by_block_as_well(tmp_path, kind):
    scores, costs = _made(tmp_path, kind, 5, n=3000, levels=2000)
    prices = ExpectedCosts.linear(costs.astype(float), 3000)
    found = frontier(scores, prices, TABLE, 2).points
    best = max(naive_best(scores, a, b, rule) for a in range(3) for b in range(3) for rule in TABLE)
    assert found.right.max() == best


def naive_best(scores, a, b, rule):
    """The most credit of a pair and rule, by one sum along the order."""
    credit = scores.credit.astype(object)
    sign = SCORES[rule.score].sign
    s_a, s_b = (sign * scores.score(rule.score, m) for m in (a, b))
    total = best = sum(credit[a])
    order = np.argsort(s_a, kind="stable").tolist()
    for at, i in enumerate(order):
        if not rule.postcheck or s_b[i] > s_a[i]:
            total += credit[b][i] - credit[a][i]
        if at + 1 == len(order) or s_a[order[at + 1]] != s_a[i]:
            best = max(best, total)
    return best


@given(seed=SEEDS, kind=KINDS, name=st.sampled_from(["maxp", "entropy"]), post=st.booleans())
@EXAMPLES
def test_the_hull_of_chains_is_that_of_all_pairs_of_thresholds(tmp_path, seed, kind, name, post):
    scores, costs = _made(tmp_path, kind, seed, n=7, levels=3)
    n, scale, loss = 7, scores.loss.scale, loss_matrix(kind)
    sure = scores.scores[name]
    points = {}
    for first in _limits(sure[0]):
        for second in _limits(sure[1]):
            cascade = Cascade.of(tuple("abc"), name, first, second, postcheck=post)
            found = decide(scores, cascade)
            cost = sum(Fraction(int(costs[j]) * int((found.stage >= j).sum())) for j in range(3))
            worth = -sum(loss[t][a] for t, a in zip(scores.labels, found.prediction, strict=True))
            points[cost] = max(worth, points.get(cost, worth))
    hull = Chain(SCORES[name], sure, scores.credit, tuple(map(float, costs)), post).hull()
    expected = _hull(points)
    assert [p.accuracy for p in hull] == pytest.approx([float(w) * scale / n for _, w in expected])
    assert [p.cost for p in hull] == pytest.approx([float(c) / n for c, _ in expected])


def _limits(values):
    return ["never", *np.unique(values).tolist(), "always"]


def _hull(points):
    """Vertices up to the most worth, by exact slopes: gift wrapping."""
    at = min(points)
    hull = [(at, points[at])]
    while ahead := [c for c in points if c > at and points[c] > points[at]]:
        here, base = points[at], at
        at = max(ahead, key=lambda c: (Fraction(points[c] - here) / (c - base), c))
        hull.append((at, points[at]))
    return hull


@pytest.mark.parametrize("kind", LOSS_TEXTS)
@pytest.mark.parametrize("seed", range(3))
def test_a_resample_is_searched_as_its_images(tmp_path, kind, seed):
    """The most credit in the bag is that of a search on the bag's images, repeats and all."""
    scores, costs = _made(tmp_path, kind, seed, n=40)
    prices = ExpectedCosts.linear(costs.astype(float), 40)
    search = Resampling(scores, prices, TABLE, Question(BEST))
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=5).astype(np.int32)
    for row, choice in zip(weights, search.choose(weights), strict=True):
        bag = scores.of_images(np.repeat(np.arange(40), row))
        found = find(bag, prices, Space(TABLE), 1)
        assert row @ choice.correct.astype(np.int64) == found.right[-1]
        credit = scores.credit.astype(np.int64)
        assert set(choice.correct.tolist()) <= set(credit.ravel().tolist())


def test_what_choosing_yields_is_told_in_losses(tmp_path):
    scores, costs = _made(tmp_path, "decimal", 1, n=200)
    search = Resampling(
        scores, ExpectedCosts.linear(costs.astype(float), 200), TABLE, Question(BEST)
    )
    found = procedure(search.choose, scores.credit[0], 40, scale=scores.loss.scale)
    assert -scores.loss.largest < found.accuracy.value < 0
    raw = procedure(search.choose, scores.credit[0], 40)
    assert found.accuracy.low == pytest.approx(raw.accuracy.low / scores.loss.scale)
    assert found.optimism == pytest.approx(raw.optimism / scores.loss.scale)


@pytest.mark.parametrize("kind", ["decimal", "weights"])
@pytest.mark.parametrize("fixed", [None, 1])
def test_searches_on_folds_against_a_loop(tmp_path, kind, fixed):
    n, matrix = 40, loss_matrix(kind)
    scores, costs = _made(tmp_path, kind, 2, n=n)

    def search(some):
        prices = ExpectedCosts.linear(costs.astype(float), len(some.labels))
        return find(some, prices, Space(TABLE), 1)

    baseline = None if fixed is None else scores.baseline(fixed)
    found = cross_fitted(scores, search, Question(BEST), np.zeros(0), baseline).answer
    mean, change, right = [], [], []
    for repeat in range(REPEATS):
        fold = folds(n, repeat=repeat)
        lost = more = hits = 0
        for f in range(FOLDS):
            fitting, held = (scores.of_images(np.flatnonzero(w)) for w in (fold != f, fold == f))
            point = search(fitting).points[-1]
            worth = [(sum(_worth(fitting, kind, m)), -costs[m], -m) for m in range(3)]
            alone = -max(worth)[2] if fixed is None else fixed
            answers = decide(held, point).prediction
            each = zip(held.labels, answers, held.predictions[alone], strict=True)
            for label, answer, other in each:
                lost += matrix[label][answer]
                more += matrix[label][answer] - matrix[label][other]
                hits += answer == label
        mean.append(lost / n)
        change.append(more / n)
        right.append(hits / n)
    assert found.loss.value == pytest.approx(float(np.mean([float(x) for x in mean])))
    assert found.loss_change.value == pytest.approx(float(np.mean([float(x) for x in change])))
    assert found.accuracy.value == pytest.approx(np.mean(right))
    assert found.loss.low < found.loss.value < found.loss.high
    assert found.loss_change.low < found.loss_change.value < found.loss_change.high
