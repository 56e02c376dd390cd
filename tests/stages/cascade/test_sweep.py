"""The exact sweep against a loop over every threshold, on data with many ties."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from helpers import score_set
from hypothesis import given, settings, strategies as st

from stages.cascade import OBJECTIVES, Cascade, Limit, Ordering, decide, fit, gains, prefix
from stages.scores import SCORES

# Few values, so that ties abound; neighbouring doubles, so that midpoints round.
POOL = sorted(
    {0.0, 5e-324, 1e-323, 0.25, 0.3, 0.5, 0.75, 1.0}
    | {math.nextafter(0.25, 1), math.nextafter(math.nextafter(0.25, 1), 1)}
    | {math.nextafter(0.5, 0), math.nextafter(1.0, 0)}
)
A_SCORE = st.sampled_from(POOL) | st.floats(0, 1)
AN_ANSWER = st.integers(0, 2)
IMAGES = st.lists(
    st.tuples(AN_ANSWER, AN_ANSWER, AN_ANSWER, A_SCORE, A_SCORE), min_size=2, max_size=25
).map(lambda rows: [naive.Image(*row) for row in rows])
# All scores in one strategy: each example is checked for each of them.
CASES = [(name, postcheck) for name in naive.SCORES for postcheck in (False, True)]


def limit_of(ordering, k):
    return tuple(ordering.limit(k).columns().values())


def _set(name, images):
    labels, answer_a, answer_b, s_a, s_b = zip(*images, strict=True)
    return score_set(labels, [answer_a, answer_b], {name: [s_a, s_b]})


def _swept(name, images, postcheck):
    """(ordering, gain) as the threshold stage makes them."""
    scores = _set(name, images)
    s_a, s_b = scores.scores[name]
    gain = gains(SCORES[name], *scores.correct, s_a, s_b, postcheck)
    return Ordering.of(SCORES[name], s_a), gain


def _right_a(images):
    return sum(image.answer_a == image.label for image in images)


@pytest.mark.parametrize(("name", "postcheck"), CASES)
@given(images=IMAGES)
@settings(max_examples=60)
def test_every_reachable_point_and_no_other(name, postcheck, images):
    ordering, gain = _swept(name, images, postcheck)
    points = naive.all_points(name, images, postcheck)
    by_usage = {p.usage: p for p in points}
    assert ordering.ends.tolist() == sorted(by_usage)
    total = prefix(ordering, gain)
    for k in ordering.ends:
        assert frozenset(ordering.order[:k].tolist()) == by_usage[k].sent
        assert total[k] == by_usage[k].hits - _right_a(images)
    assert [images[i].s_a for i in ordering.order] == ordering.values.tolist()


@pytest.mark.parametrize(("name", "postcheck"), CASES)
@given(images=IMAGES)
@settings(max_examples=60)
def test_best_and_1se(name, postcheck, images):
    ordering, gain = _swept(name, images, postcheck)
    points = naive.all_points(name, images, postcheck)
    found = fit(ordering, gain, OBJECTIVES)
    assert set(found) == {"best", "1se"}
    for objective, got in found.items():
        expected = naive.CHOOSE[objective](points)
        assert (got.k, got.gain) == (expected.usage, expected.hits - _right_a(images)), objective


@pytest.mark.parametrize("name", naive.SCORES)
@given(images=IMAGES)
@settings(max_examples=60)
def test_escalated_counts_every_threshold(name, images):
    ordering, _ = _swept(name, images, False)
    thresholds = naive.candidates(images)
    expected = [naive.point(name, images, t, False).usage for t in thresholds]
    assert [ordering.escalated(Limit.of(t)) for t in thresholds] == expected
    numbers = [t for t in thresholds if not isinstance(t, str)]
    assert ordering.escalated_by(ordering.score.sign * np.array(numbers)).tolist() == expected[2:]


def _thresholds_inside(name, threshold, low, high):
    """λ and points of the interval at both its ends, the included end and the neighbours."""
    inside = [threshold]
    if name == "entropy":  # [low, high)
        inside += [low, math.nextafter(low, math.inf)] if low is not None else [-1.0]
        inside += [math.nextafter(high, -math.inf)] if high is not None else [2.0]
        if None not in (low, high) and math.nextafter(low, math.inf) == high:
            inside.remove(high)
    else:  # (low, high]
        inside += [math.nextafter(low, math.inf)] if low is not None else [-1.0]
        inside += [high, math.nextafter(high, -math.inf)] if high is not None else [2.0]
        if None not in (low, high) and math.nextafter(low, math.inf) == high:
            inside.remove(low)
    return inside


def _thresholds_outside(name, low, high):
    """The excluded end, and the first doubles beyond both ends."""
    outside = []
    if low is not None:
        outside += [math.nextafter(low, -math.inf)] + ([] if name == "entropy" else [low])
    if high is not None:
        outside += [math.nextafter(high, math.inf)] + ([high] if name == "entropy" else [])
    return outside


@pytest.mark.parametrize(("name", "postcheck"), CASES)
@given(images=IMAGES)
@settings(max_examples=40)
def test_interval_and_simulate_agree_to_the_last_double(name, postcheck, images):
    ordering, _ = _swept(name, images, postcheck)
    scores = _set(name, images)

    def run(threshold):
        return decide(scores, Cascade.of(("small", "large"), name, threshold, postcheck=postcheck))

    for expected in naive.all_points(name, images, postcheck):
        threshold, low, high = limit_of(ordering, expected.usage)
        assert (threshold, low, high) == naive.interval(name, images, expected.sent)
        for inside in _thresholds_inside(name, threshold, low, high):
            outcome = run(inside)
            assert frozenset(np.flatnonzero(outcome.escalated).tolist()) == expected.sent, inside
            assert outcome.accuracy == expected.hits / len(images)
            assert outcome.usage() == expected.usage / len(images)
        for outside in _thresholds_outside(name, low, high):
            sent = frozenset(np.flatnonzero(run(outside).escalated).tolist())
            assert sent != expected.sent, outside


@pytest.mark.parametrize(("name", "postcheck"), CASES)
@given(images=IMAGES, data=st.data())
@settings(max_examples=30)
def test_subset_is_the_sweep_of_those_images_alone(name, postcheck, images, data):
    keep = data.draw(st.lists(st.booleans(), min_size=len(images), max_size=len(images)))
    kept = [i for i, inside in enumerate(keep) if inside]
    ordering, gain = _swept(name, images, postcheck)
    ordering = ordering.subset(np.array(keep))
    if len(kept) < 2:
        return
    alone = [images[i] for i in kept]
    points = naive.all_points(name, alone, postcheck)
    for objective, got in fit(ordering, gain, OBJECTIVES).items():
        expected = naive.CHOOSE[objective](points)
        assert (got.k, got.gain) == (expected.usage, expected.hits - _right_a(alone))
        assert limit_of(ordering, got.k) == naive.interval(name, alone, expected.sent)
        assert set(ordering.order[: got.k].tolist()) == {kept[i] for i in expected.sent}


def test_midpoint_of_neighbours_is_the_included_end():
    low, high = 0.25, math.nextafter(0.25, 1)
    values = np.array([low, high])
    assert limit_of(Ordering.of(SCORES["maxp"], values), 1) == (high, low, high)
    assert limit_of(Ordering.of(SCORES["entropy"], values), 1) == (low, low, high)


def test_one_paired_standard_error_by_hand():
    """Of 4 images B mends one: 1/4 better, standard error 1/4, so never running B is as good."""
    order = Ordering.of(SCORES["maxp"], np.array([0.1, 0.2, 0.3, 0.4]))
    gain = np.array([1, 0, 0, 0], np.int8)
    found = fit(order, gain, OBJECTIVES)
    assert (found["best"].k, found["1se"].k) == (1, 0)
    # It mends two: never running B is 2/4 short with a standard error of 0.29, so too far off;
    # mending one is 1/4 short with a standard error of 1/4.
    found = fit(order, np.array([1, 1, 0, 0], np.int8), OBJECTIVES)
    assert (found["best"].k, found["1se"].k) == (2, 1)


def test_equal_scores_cannot_be_parted():
    order = Ordering.of(SCORES["difference"], np.full(7, 0.5))
    assert order.ends.tolist() == [0, 7]
    assert limit_of(order, 0) == ("never", None, 0.5)
    assert limit_of(order, 7) == ("always", 0.5, None)
