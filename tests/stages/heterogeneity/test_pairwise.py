"""Every metric against sets of images, one pair at a time."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import replace
from itertools import combinations

import naive
import numpy as np
import polars as pl
import pytest
from helpers import random_scores, write_logits, write_samples
from hypothesis import given, settings, strategies as st
from running import cascade
from scipy.stats import rankdata
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef

from cache import Store, find, read_table
from stages.heterogeneity import METRICS, matrix, pairwise as stage, prediction
from stages.scores import load
from stages.statistics import Interval
from stages.threshold import (
    REPEATS,
    FitPlan,
    ThresholdQuestion,
    all_pairs,
    cross_fitted_points,
    folds,
)

# Metric → what it is, from the images that A and B get right out of n.
BY_SETS = {
    "heterogeneity": lambda a, b, n: len(a ^ b) / n,
    "complementarity": lambda a, b, n: (len(a | b) - len(a & b) - abs(len(a) - len(b))) / n,
    "oracle_accuracy": lambda a, b, n: len(a | b) / n,
    "double_fault": lambda a, b, n: len(set(range(n)) - a - b) / n,
    "gain": lambda a, b, n: len(b - a) / n,
}
# Metric → what it is, from what A and B answer and from whether each is right.
BY_ANSWERS = {
    "disagreement": lambda x, y, r, s: sum(map(operator.ne, x, y)) / len(x),
    "q_statistic": lambda x, y, r, s: _q(*_table(r, s)),
    "error_correlation": lambda x, y, r, s: _quietly(matthews_corrcoef, r, s),
    "kappa": lambda x, y, r, s: _quietly(cohen_kappa_score, x, y),
}


def _table(r, s):
    """Images that both, only A, only B and none get right."""
    pairs = list(zip(r, s, strict=True))
    return [pairs.count(kind) for kind in ((1, 1), (1, 0), (0, 1), (0, 0))]


def _q(both, only_a, only_b, none):
    below = both * none + only_a * only_b
    return (both * none - only_a * only_b) / below if below else math.nan


def _quietly(formula, x, y):
    """NaN where scikit-learn has none to give: one of the two never varies."""
    if len(set(x)) == 1 and (formula is matthews_corrcoef or set(x) == set(y)):
        return math.nan
    if formula is matthews_corrcoef and len(set(y)) == 1:
        return math.nan
    return formula(x, y)


CORRECT = st.integers(1, 12).flatmap(
    lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=5)
)


def _right(row):
    return {i for i, right in enumerate(row) if right}


def _expected(correct, metric):
    n = len(correct[0])
    return [[BY_SETS[metric](_right(a), _right(b), n) for b in correct] for a in correct]


def test_every_metric_is_tested():
    assert set(METRICS) == {*BY_SETS, *BY_ANSWERS}
    assert set(METRICS) < set(re.findall(r"\w+", cascade("heterogeneity", "--help").out))


@pytest.mark.parametrize("metric", BY_SETS)
@given(correct=CORRECT)
@settings(max_examples=60)
def test_against_sets(metric, correct):
    found = matrix(np.array(correct), metric)
    assert found.dtype == np.float64
    assert found.tolist() == _expected(correct, metric)


@pytest.mark.parametrize("metric", BY_ANSWERS)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, 2), min_size=n, max_size=n), min_size=2, max_size=4
        )
    )
)
@settings(max_examples=60)
def test_against_scikit_learn_and_counting(metric, rows):
    labels, *answers = rows
    right = [[int(x == y) for x, y in zip(row, labels, strict=True)] for row in answers]
    found = matrix(np.array(right, bool), metric, np.array(answers))
    expected = [
        [BY_ANSWERS[metric](x, y, r, s) for y, s in zip(answers, right, strict=True)]
        for x, r in zip(answers, right, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("metric", ["disagreement", "kappa"])
def test_metrics_of_answers_ask_for_them(metric):
    with pytest.raises(ValueError, match="needs the models' answers"):
        matrix(np.array([[True, False]]), metric)


def test_heterogeneity_is_differing_answers_of_which_one_is_right():
    """The definition in words, on answers rather than on correctness."""
    scores = random_scores(np.random.default_rng(0), 200)
    found = matrix(scores.correct)
    for i, a in enumerate(scores.predictions.tolist()):
        for j, b in enumerate(scores.predictions.tolist()):
            rows = zip(a, b, scores.labels.tolist(), strict=True)
            assert found[i, j] == sum(x != y and t in (x, y) for x, y, t in rows) / 200


def test_many_images_do_not_lose_count():
    """float32 would stop counting at 2^24 images; here it is 2^20 with a remainder of one."""
    n = 2**20 + 1
    correct = np.ones((2, n), bool)
    correct[1, 0] = False
    assert matrix(correct)[0, 1] == 1 / n


def test_run_stores_all_metrics_tidily(small_cache):
    scores = load(small_cache, "toy", "test")
    returned = stage.run(small_cache, scores, "gain")
    assert returned.tolist() == _expected(scores.correct.tolist(), "gain")
    [manifest] = find(small_cache, "results", "heterogeneity")
    rows = pl.from_arrow(read_table(small_cache, manifest)).to_dicts()
    assert len(rows) == 9
    for row in rows:
        a, b = (scores.correct[scores.index(row[key])].tolist() for key in ("model_1", "model_2"))
        for metric, by_sets in BY_SETS.items():
            assert row[metric] == by_sets(_right(a), _right(b), 60)
        x, y = (scores.predictions[scores.index(row[key])] for key in ("model_1", "model_2"))
        for metric, by_answers in BY_ANSWERS.items():
            assert row[metric] == pytest.approx(by_answers(x.tolist(), y.tolist(), a, b))


def test_an_undefined_measure_is_null(tmp_path):
    store, rng = Store(tmp_path), np.random.default_rng(0)
    labels = rng.integers(0, 4, 40)
    write_samples(store, "test", labels)
    write_logits(store, "test", "perfect", labels, np.eye(4)[labels])
    write_logits(store, "test", "random", labels, rng.standard_normal((40, 4)))
    found = cascade(
        *("heterogeneity", "-d", "toy", "--metric", "q_statistic", "--cache", tmp_path, "--json")
    ).json
    assert found["matrix"] == [[None, None], [None, 1.0]]
    table = cascade("heterogeneity", "-d", "toy", "--metric", "q_statistic", "--cache", tmp_path)
    assert "nan" not in table.out
    assert "–" in table.out
    [manifest] = find(store, "results", "heterogeneity")
    rows = read_table(store, manifest).column("q_statistic").to_pylist()
    assert rows == [None, None, None, 1.0]


BEST = ThresholdQuestion(objectives=("best",))
RULES = [(name, check) for name in naive.SCORES for check in (False, True)]


def _brute_gain(scores, a, b):
    """The best cascade's accuracy less that of the better model, over every threshold."""
    found = [
        p.hits
        for name, check in RULES
        for p in naive.all_points(name, naive.images_of(scores, a, b, name), check)
    ]
    return max(found) / len(scores.labels) - max(scores.accuracy[[a, b]])


def test_predictors_against_scipy_over_lists_of_pairs():
    models = ("p", "q", "r", "s")
    scores = random_scores(np.random.default_rng(3), 60, models=models)
    plan = FitPlan("same-split", "test", scores, ())
    points = cross_fitted_points(scores, plan, all_pairs(models), BEST)
    gains = prediction.gains_of(prediction.best_cascades(points), models)
    ordered = [(a, b) for a in range(4) for b in range(4) if a != b]
    for a, b in ordered:
        assert gains[a, b] == pytest.approx(_brute_gain(scores, a, b), abs=1e-12)
    assert np.isnan(np.diag(gains)).all()
    unordered = [
        max(((a, b), (b, a)), key=lambda p: gains[p]) for a, b in combinations(range(4), 2)
    ]
    metrics = stage.measures(scores.correct, scores.predictions)
    found = prediction.predictors(metrics, gains)
    assert set(found) == {(m, kind) for m in METRICS for kind in ("ordered", "unordered")}
    for metric, values in metrics.items():
        for kind, pairs in (("ordered", ordered), ("unordered", unordered)):
            x, y = [values[p] for p in pairs], [gains[p] for p in pairs]
            row = found[metric, kind]
            assert row.n == len(pairs)
            assert row.spearman == pytest.approx(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
            assert row.kendall == pytest.approx(_tau_b(x, y))


def _tau_b(x, y):
    signs = [
        (np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in combinations(range(len(x)), 2)
    ]
    above = sum(a * b for a, b in signs)
    return above / math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))


def test_where_folds_decide_each_is_by_the_best_rule_of_the_others():
    scores = random_scores(np.random.default_rng(2), 30, levels=4, models=("p", "q", "r"))
    plan = FitPlan("cross-fit", "test", scores, ())
    points = cross_fitted_points(scores, plan, [(0, 1), (2, 1)], BEST)
    found = prediction.best_cascades(points)
    assert set(found) == {("p", "q"), ("r", "q")}
    repeats = [folds(30, repeat=r).tolist() for r in range(REPEATS)]
    for a, b in ((0, 1), (2, 1)):
        by_rule = [
            naive.cross_fit(name, naive.images_of(scores, a, b, name), check, "best", repeats)
            for name, check in RULES
        ]
        chosen = [
            [
                min(fold, key=lambda held: (-held.fit_right, held.fit_sent))
                for fold in zip(*each, strict=True)
            ]
            for each in zip(*by_rule, strict=True)
        ]
        got = found[scores.models[a], scores.models[b]]
        told = [
            (each.value, each.low, each.high)
            for each in (got.accuracy, got.against.accuracy_change)
        ]
        assert told == [pytest.approx(each) for each in naive.honest(chosen, 30)]


def test_of_equal_fits_the_least_use_of_b_counts_then_the_first():
    scores = random_scores(np.random.default_rng(2), 30, models=("p", "q"))
    plan = FitPlan("same-split", "test", scores, ())
    row, _ = next(cross_fitted_points(scores, plan, [(0, 1)], BEST))

    def point(fit, used, change):
        told = replace(row.against, accuracy_change=Interval(change, change, change))
        facts = replace(row.fit, fit_accuracy=fit, fit_usage=used)
        return replace(row, fit=facts, against=told), None

    points = [
        *(point(0.7, 0.1, 0.3), point(0.8, 0.5, 0.1), point(0.8, 0.2, -0.1)),
        *(point(0.8, 0.2, 0.2), point(None, None, 1.0)),  # the oracle counts nothing
    ]
    gains = prediction.gains_of(prediction.best_cascades(points), ("p", "q"))
    assert gains[0, 1] == -0.1
    assert np.isnan(gains[[0, 1, 1], [0, 0, 1]]).all()


def test_constant_or_unknown_measures_predict_nothing():
    gains = np.array([[np.nan, 0.1, 0.2], [0.3, np.nan, np.nan], [0.2, 0.4, np.nan]])
    flat, some = np.zeros((3, 3)), np.arange(9.0).reshape(3, 3)
    some[0, 1] = np.nan
    found = prediction.predictors({"f": flat, "s": some}, gains)
    assert (found["f", "ordered"].spearman, found["f", "ordered"].kendall) == (None, None)
    assert (found["f", "ordered"].n, found["s", "ordered"].n) == (5, 4)
    assert found["f", "unordered"].n == 3
