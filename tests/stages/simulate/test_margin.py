"""The noise between two runtimes and what it does to a threshold, one image at a time."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from stages.cascade import Limit
from stages.scores import SCORES, scores_of
from stages.simulate.margin import Comparison, moved, noise_of

TENTHS = st.integers(0, 10).map(lambda i: i / 10)
BOTH = st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=25)


def sent(name, scores, threshold):
    images = [naive.Image(0, 0, 0, float(s), 0.0) for s in scores]
    return naive.point(name, images, threshold, False).sent


def in_two_runtimes(name, threshold, here, there):
    both = (Comparison("threshold", SCORES[name], Limit.of(threshold), s) for s in (here, there))
    return moved(*both)


@pytest.mark.parametrize("name", ["maxp", "entropy"])
@given(BOTH, TENTHS | st.sampled_from(["always", "never"]))
@settings(max_examples=80)
def test_against_one_image_at_a_time(name, both, threshold):
    here, there = (np.array(column) for column in zip(*both, strict=True))
    found = in_two_runtimes(name, threshold, here, there)
    flips = sent(name, here, threshold) ^ sent(name, there, threshold)
    assert (found.n, found.flips) == (len(both), len(flips))
    assert found.moved_p100 == max(abs(x - y) for x, y in both)
    if isinstance(threshold, str):
        assert {found.noise, found.near, found.near_share, found.gap} == {None}
        return
    distances = [abs(x - threshold) for x, _ in both]
    assert found.gap == min(distances)
    assert found.near == sum(d <= found.noise for d in distances)
    assert found.near_share == found.near / len(both)


@given(BOTH, st.integers(1, 30))
@settings(max_examples=80)
def test_the_noise_is_of_the_images_nearest(both, neighbours):
    moved, distance = (np.array(column) for column in zip(*both, strict=True))
    found = noise_of(moved, distance, 1.0, neighbours)
    # Ties in the distance may be cut either way: the noise lies between the two.
    edge = sorted(distance)[min(neighbours, len(both)) - 1]
    inside, upto = ([m for m, d in both if d < edge], [m for m, d in both if d <= edge])
    assert max(inside, default=0) <= found <= max(upto)


def test_the_noise_is_that_of_scores_near_the_threshold():
    """Sure images move a thousandth as much as doubtful ones."""
    rng = np.random.default_rng(0)
    here = np.concatenate([rng.uniform(0.4, 0.6, 1000), rng.uniform(0.98, 1, 9000)])
    moves = np.concatenate([np.full(1000, 1e-2), np.full(9000, 1e-5)])
    for threshold, noise in ((0.99, 1e-5), (0.5, 1e-2)):
        found = in_two_runtimes("maxp", threshold, here, here - moves)
        assert found.noise == pytest.approx(noise)
        assert found.moved_p50 == pytest.approx(1e-5)
        assert found.moved_p100 == pytest.approx(1e-2)


def test_bfloat16_logits_against_float32():
    """Rounding to bfloat16, done here by cutting bits, flips decisions only near λ."""
    rng = np.random.default_rng(1)
    logits = (rng.standard_normal((4000, 10)) * 3).astype(np.float32)
    coarse = (logits.view(np.uint32) & 0xFFFF0000).view(np.float32)
    here, there = (scores_of(z)["maxp"] for z in (logits, coarse))
    found = in_two_runtimes("maxp", 0.8, here, there)
    assert 0 < found.noise <= found.moved_p100
    widest = (abs(here - 0.8) <= abs(here - there).max()).sum()
    assert 0 < found.flips <= widest < 400
    same = in_two_runtimes("maxp", 0.8, here, here.copy())
    assert (same.noise, same.flips) == (0, 0)
