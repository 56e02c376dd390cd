"""The noise between two runtimes and what it does to a threshold, one image at a time."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from stages.cascade import Limit
from stages.scores import SCORES, scores_of
from stages.threshold.margin import compared, noise_of

TENTHS = st.integers(0, 10).map(lambda i: i / 10)
BOTH = st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=25)


def sent(name, scores, threshold):
    images = [naive.Image(0, 0, 0, float(s), 0.0) for s in scores]
    return naive.point(name, images, threshold, False).sent


@pytest.mark.parametrize("name", ["maxp", "entropy"])
@given(BOTH, TENTHS | st.sampled_from(["always", "never"]))
@settings(max_examples=80)
def test_against_one_image_at_a_time(name, both, threshold):
    here, there = (np.array(column) for column in zip(*both, strict=True))
    first, *stated = compared(SCORES[name], Limit.of(threshold), here, there, (0.05, 0.25))
    flips = sent(name, here, threshold) ^ sent(name, there, threshold)
    assert (first["n"], first["flips"]) == (len(both), len(flips))
    assert first["moved_p100"] == max(abs(x - y) for x, y in both)
    rows = [first, *stated]
    if isinstance(threshold, str):
        assert [row["noise_is"] for row in rows] == ["stated"] * 2
        assert {(row["gap"], row["near"]) for row in rows} == {(None, 0)}
        return
    assert [row["noise_is"] for row in rows] == ["measured", "stated", "stated"]
    distances = [abs(x - threshold) for x, _ in both]
    assert first["gap"] == min(distances)
    for row in rows:
        assert row["near"] == sum(d <= row["noise"] for d in distances)


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
        [row] = compared(SCORES["maxp"], Limit.of(threshold), here, here - moves, ())
        assert row["noise"] == pytest.approx(noise)
        assert row["moved_p50"] == pytest.approx(1e-5)
        assert row["moved_p100"] == pytest.approx(1e-2)


def test_bfloat16_logits_against_float32():
    """Rounding to bfloat16, done here by cutting bits, flips decisions only near λ."""
    rng = np.random.default_rng(1)
    logits = (rng.standard_normal((4000, 10)) * 3).astype(np.float32)
    coarse = (logits.view(np.uint32) & 0xFFFF0000).view(np.float32)
    here, there = (scores_of(z)["maxp"] for z in (logits, coarse))
    [row, widest] = compared(SCORES["maxp"], Limit.of(0.8), here, there, (abs(here - there).max(),))
    assert 0 < row["noise"] <= row["moved_p100"]
    assert 0 < row["flips"] <= widest["near"] < 400
    [same] = compared(SCORES["maxp"], Limit.of(0.8), here, here.copy(), ())
    assert (same["noise"], same["flips"]) == (0, 0)
