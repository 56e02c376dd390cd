"""Searches done again on folds against a loop over repeats, folds, questions and images."""

from __future__ import annotations

import math
from statistics import NormalDist

import naive
import numpy as np
import pytest
from helpers import random_scores
from naive import exact_change

from stages.costs import ExpectedCosts
from stages.search import ACCURACY, BEST, COST, Question, Space, rules
from stages.search.crossfit import cross_fitted
from stages.search.fitted_frontier import find
from stages.threshold import FOLDS, REPEATS, folds

SPACE = Space(tuple(rules(naive.SCORES)))
COSTS = np.array([1.0, 2.0, 5.0])
N = 60


def _found(scores):
    return find(scores, ExpectedCosts.linear(COSTS, len(scores.labels)), SPACE, 1)


def _chosen(question, found, n):
    """The row that answers, going through all; the most accurate, or cheapest, where none does."""
    rows = list(range(len(found.points)))
    if question.kind == BEST:
        return rows[-1]
    if question.kind == ACCURACY:
        return next((i for i in rows if found.right[i] / n >= question.value), rows[-1])
    within = [i for i in rows if found.cost[i] <= question.value]
    return within[-1] if within else rows[0]


def _alone(question, scores):
    """The single model that one would deploy, of equals the cheaper."""
    n = len(scores.labels)
    models = [(int(scores.correct[m].sum()), COSTS[m], m) for m in range(3)]
    fit = models
    if question.kind == ACCURACY:
        fit = [m for m in models if m[0] / n >= question.value]
    if question.kind == COST:
        fit = [m for m in models if m[1] <= question.value]
    if question.kind == ACCURACY and fit:
        return min(fit, key=lambda m: (m[1], -m[0]))[2]
    return min(fit or models, key=lambda m: (-m[0], m[1]))[2]


def _right(scores, point, i):
    """Whether the cascade is right on image i."""
    a, *b = (scores.index(name) for name in point.models)
    if not b:
        return bool(scores.correct[a][i])
    images = naive.images_of(scores.of_images(np.array([i])), a, b[0], point.score)
    _, _, answer = naive.decide(point.score, images[0], point.limits[0].threshold, point.postcheck)
    return answer == scores.labels[i]


def _counts(scores, question, alone, asked=None):
    """(right, won, lost) of each repeat: of the question, or of another one, `asked`, against the
    model that one would deploy for the question."""
    out = []
    for repeat in range(REPEATS):
        fold = folds(N, repeat=repeat)
        right = won = lost = 0
        for f in range(FOLDS):
            fitting = scores.of_images(np.flatnonzero(fold != f))
            found = _found(fitting)
            point = found.points[_chosen(asked or question, found, len(fitting.labels))]
            base = scores.correct[alone if alone is not None else _alone(question, fitting)]
            for i in np.flatnonzero(fold == f):
                here = _right(scores, point, i)
                right += here
                won += here and not base[i]
                lost += bool(base[i]) and not here
        out.append((right, won, lost))
    return out


def _interval(value, low, high, values):
    z = NormalDist().inv_cdf(0.975)
    spread = z * float(np.std(values, ddof=1))
    return value, value - math.hypot(value - low, spread), value + math.hypot(high - value, spread)


def _expected(counts):
    right, won, lost = (np.array(column) for column in zip(*counts, strict=True))
    share, z2 = right.mean() / N, NormalDist().inv_cdf(0.975) ** 2 / N
    half = NormalDist().inv_cdf(0.975) * math.sqrt(share * (1 - share) / N + z2 / (4 * N))
    ends = ((share + z2 / 2 - sign * half) / (1 + z2) for sign in (1, -1))
    accuracy = _interval(share, *ends, right / N)
    change = (won - lost) / N
    w, x = won.mean(), lost.mean()
    if w + x < 30:
        limits = _fractional(w, x)
    else:
        mean = (w - x) / N
        half = NormalDist().inv_cdf(0.975) * math.sqrt(((w + x) / N - mean**2) / N)
        limits = mean - half, mean + half
    return accuracy, _interval(change.mean(), *limits, change)


def _fractional(won, lost):
    """Clopper–Pearson limits of counts that are means, by SciPy's beta distribution."""
    from scipy.stats import beta

    def ends(k):
        low = beta.ppf(0.025, k, N - k + 1) if k else 0.0
        return low, beta.ppf(0.975, k + 1, N - k)

    (wl, wh), (xl, xh) = ends(won), ends(lost)
    below = math.hypot(won / N - wl, xh - lost / N)
    above = math.hypot(wh - won / N, lost / N - xl)
    return (won - lost) / N - below, (won - lost) / N + above


def test_limits_of_whole_counts_are_those_of_the_exact_ones():
    assert _fractional(4, 2) == pytest.approx(exact_change(4, 2, N), abs=1e-9)


@pytest.mark.parametrize(
    ("question", "alone"),
    [
        (Question(BEST), None),
        (Question(ACCURACY, 0.75), None),
        (Question(ACCURACY, 0.99), None),
        (Question(COST, 2.5), None),
        (Question(BEST), 0),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_searches_on_folds_against_a_loop(seed, question, alone):
    scores = random_scores(np.random.default_rng(seed), N, levels=5, models=tuple("abc"))
    budgets = np.array([1.0, 2.6])
    fixed = None if alone is None else scores.correct[alone]
    found = cross_fitted(scores, _found, question, budgets, fixed)
    told = [found.answer]
    expected = [_expected(_counts(scores, question, alone))]
    if seed == 0:  # of the frontier: the most accurate within its cost
        told += found.frontier
        for budget in budgets:
            expected.append(_expected(_counts(scores, question, alone, Question(COST, budget))))
    for one, (accuracy, change) in zip(told, expected, strict=True):
        assert (one.accuracy.value, one.accuracy.low, one.accuracy.high) == pytest.approx(accuracy)
        assert (one.change.value, one.change.low, one.change.high) == pytest.approx(change)
