"""Scores against scipy and against plain-Python sums; trust and post-check by DESIGN.md §4."""

from __future__ import annotations

import math
from fractions import Fraction

import naive
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import entropy

from stages.cascade import ALWAYS, NEVER, Limit, takes_b, trusted
from stages.scores import SCORES, NonFiniteError, scores_of

NAMES = ("maxp", "difference", "entropy")
CLASSES = (2, 3, 4, 7, 8, 9, 10, 16, 17, 100, 129, 257, 1000)
FINITE = st.floats(-80, 80, width=32)


def _logits(n, classes, seed=0, spread=4.0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, classes)) * spread).astype(np.float32)


def _by_scipy(logits):
    p = softmax(logits.astype(np.float64), axis=1)
    ranked = np.sort(p, axis=1)
    return {
        "maxp": ranked[:, -1],
        "difference": ranked[:, -1] - ranked[:, -2],
        "entropy": entropy(p, axis=1) / math.log(p.shape[1]),
    }


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("spread", [0.01, 1.0, 10.0, 80.0])
def test_scores_equal_scipys(classes, spread):
    logits = _logits(50, classes, spread=spread)
    found, expected = scores_of(logits), _by_scipy(logits)
    for name in NAMES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12, atol=2e-15)
    assert found["prediction"].tolist() == [row.index(max(row)) for row in logits.tolist()]


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(2, 6)), elements=FINITE))
@settings(max_examples=150)
def test_scores_equal_a_plain_sum(logits):
    found = scores_of(logits)
    for i, row in enumerate(logits.tolist()):
        e = [math.exp(x - max(row)) for x in row]
        p = [x / math.fsum(e) for x in e]
        first, second = sorted(p)[::-1][:2]
        h = -math.fsum(x * math.log(x) for x in p if x > 0) / math.log(len(row))
        expected = {"maxp": first, "difference": first - second, "entropy": h}
        for name in NAMES:
            assert found[name][i] == pytest.approx(expected[name], rel=1e-12, abs=2e-15), name


@given(arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(2, 40)), elements=FINITE))
@settings(max_examples=100)
def test_scores_stay_in_their_range(logits):
    found = scores_of(logits)
    assert (found["maxp"] * logits.shape[1] >= 1 - 1e-12).all()
    for name in NAMES:
        assert found[name].dtype == np.float64
        assert ((found[name] >= 0) & (found[name] <= 1)).all(), name


@pytest.mark.parametrize("size", [80.0, 1e4, 3e38])
@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_one_hot_saturates(size, classes):
    logits = np.full((2, classes), -size, np.float32)
    logits[:, 1] = size
    found = scores_of(logits)
    assert found["prediction"].tolist() == [1, 1]
    for name, expected in (("maxp", 1.0), ("difference", 1.0), ("entropy", 0.0)):
        np.testing.assert_allclose(found[name], expected, atol=1e-12)
        assert np.isfinite(found[name]).all()


@pytest.mark.parametrize("level", [0.0, 80.0, -80.0, 1e4, -1e4])
@pytest.mark.parametrize("classes", CLASSES)
def test_equal_logits_know_nothing(level, classes):
    found = scores_of(np.full((3, classes), level, np.float32))
    assert found["prediction"].tolist() == [0, 0, 0]
    assert found["difference"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(found["maxp"], 1 / classes, rtol=1e-14)
    np.testing.assert_allclose(found["entropy"], 1, rtol=1e-14)


def test_two_equal_maxima():
    found = scores_of(np.array([[-1e4, 80, 80], [80, -1e4, 80]], np.float32))
    assert found["prediction"].tolist() == [1, 0]
    assert found["difference"].tolist() == [0, 0]
    assert found["maxp"].tolist() == [0.5, 0.5]
    np.testing.assert_allclose(found["entropy"], math.log(2) / math.log(3), rtol=1e-14)


def test_a_shift_of_all_logits_changes_nothing():
    logits = np.round(_logits(200, 10))
    found, moved = scores_of(logits), scores_of(logits + np.float32(64))
    for name in (*NAMES, "prediction"):
        assert np.array_equal(found[name], moved[name])


@pytest.mark.parametrize("classes", CLASSES)
def test_a_row_does_not_depend_on_its_neighbours(classes):
    logits = _logits(67, classes)
    whole = scores_of(logits)
    one_by_one = [scores_of(logits[i : i + 1]) for i in range(67)]
    backwards = scores_of(logits[::-1])
    for name, values in whole.items():
        assert values.tolist() == [row[name].item() for row in one_by_one]
        assert values.tolist() == backwards[name][::-1].tolist()


@pytest.mark.parametrize("classes", CLASSES)
def test_the_layout_in_memory_does_not_matter(classes):
    logits = _logits(33, classes)
    whole = scores_of(logits)
    layouts = {
        "column by column": np.asfortranarray(logits),
        "every second of twice": np.repeat(logits, 2, axis=1)[:, ::2],
        "part of a wider one": np.hstack([logits, logits])[:, :classes],
    }
    for layout, other in layouts.items():
        found = scores_of(other)
        for name, values in whole.items():
            assert np.array_equal(values, found[name]), layout


def test_scoring_leaves_the_logits_alone():
    logits = _logits(10, 10)
    before = logits.copy()
    scores_of(logits)
    assert np.array_equal(logits, before)


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_bad_row_is_named(classes, bad):
    logits = _logits(5000, classes)
    logits[4321, 1] = logits[4800, 0] = bad
    with pytest.raises(NonFiniteError, match="4321") as caught:
        scores_of(logits)
    assert caught.value.row == 4321


@pytest.mark.parametrize("classes", [0, 1])
def test_one_class_cannot_be_scored(classes):
    with pytest.raises(ValueError, match="two classes"):
        scores_of(np.zeros((3, classes), np.float32))


def test_no_rows():
    found = scores_of(np.zeros((0, 4), np.float32))
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(found, 0)


# λ at, above, below and between values, with both neighbours of one of them.
VALUES = [0.0, 0.25, math.nextafter(0.5, 0), 0.5, math.nextafter(0.5, 1), 1.0]
THRESHOLDS = [*VALUES, 0.1, 0.9, -1.0, 2.0, ALWAYS, NEVER]


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("name", NAMES)
def test_trusted(name, threshold):
    images = [naive.Image(0, 0, 0, value, 0) for value in VALUES]
    found = trusted(SCORES[name], np.array(VALUES), Limit.of(threshold))
    assert found.dtype == bool
    assert found.tolist() == [naive.is_trusted(name, image, threshold) for image in images]


@pytest.mark.parametrize("name", NAMES)
def test_takes_b(name):
    pairs = [(a, b) for a in VALUES for b in VALUES]
    s_a, s_b = np.array(pairs).T
    assert takes_b(SCORES[name], s_a, s_b, False).tolist() == [True] * len(pairs)
    found = takes_b(SCORES[name], s_a, s_b, True)
    assert found.tolist() == [naive.is_surer(name, b, a) for a, b in pairs]


@pytest.mark.parametrize("postcheck", [False, True])
def test_the_oracle_trusts_what_is_right(postcheck):
    right = np.array([1.0, 0.0, 1.0])
    assert trusted(SCORES["oracle"], right, Limit.of(None)).tolist() == [True, False, True]
    assert takes_b(SCORES["oracle"], right, right, postcheck).tolist() == [True] * 3


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0.0), ("1", 1.0), ("-2.5", -2.5), ("1e-3", 1e-3), ("always", ALWAYS), ("never", NEVER)],
)
def test_parse_threshold(text, value):
    assert Limit.parse(text).threshold == value


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "", "half", "1,5"])
def test_parse_threshold_refuses(text):
    with pytest.raises(ValueError, match=r"\S"):
        Limit.parse(text)


def test_a_printed_threshold_reads_back_exactly():
    for value in np.random.default_rng(0).random(100):
        assert Fraction(Limit.parse(repr(float(value))).value) == Fraction(value)
