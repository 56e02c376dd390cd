"""Every metric against sets of images, one pair at a time."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from helpers import random_scores
from hypothesis import given, settings
from hypothesis import strategies as st

from cache import find, read_table
from stages import heterogeneity as stage
from stages.heterogeneity import METRICS, matrix
from stages.score import load

# Metric → what it is, from the images that A and B get right out of n.
BY_SETS = {
    "heterogeneity": lambda a, b, n: len(a ^ b) / n,
    "complementarity": lambda a, b, n: (len(a | b) - len(a & b) - abs(len(a) - len(b))) / n,
    "oracle_accuracy": lambda a, b, n: len(a | b) / n,
    "double_fault": lambda a, b, n: len(set(range(n)) - a - b) / n,
    "gain": lambda a, b, n: len(b - a) / n,
}
CORRECT = st.integers(1, 12).flatmap(
    lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=5)
)


def _right(row):
    return {i for i, right in enumerate(row) if right}


def _expected(correct, metric):
    n = len(correct[0])
    return [[BY_SETS[metric](_right(a), _right(b), n) for b in correct] for a in correct]


def test_every_metric_is_tested():
    assert set(METRICS) == set(BY_SETS)


@pytest.mark.parametrize("metric", BY_SETS)
@given(correct=CORRECT)
@settings(max_examples=60)
def test_against_sets(metric, correct):
    found = matrix(np.array(correct), metric)
    assert found.dtype == np.float64
    assert found.tolist() == _expected(correct, metric)


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
