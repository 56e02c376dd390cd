"""The noise between two runtimes and what it does to a threshold, one image at a time."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.margin import margin
from stages.rule import SCORES, scores_of

TENTHS = st.integers(0, 10).map(lambda i: i / 10)
BOTH = st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=25)


def sent(name, scores, threshold):
    images = [naive.Image(0, 0, 0, float(s), 0.0) for s in scores]
    return naive.point(name, images, threshold, False).sent


@pytest.mark.parametrize("name", ["maxp", "entropy"])
@given(BOTH, TENTHS | st.sampled_from(["always", "never"]), st.integers(1, 30))
@settings(max_examples=80)
def test_against_one_image_at_a_time(name, both, threshold, neighbours):
    here, there = (np.array(column) for column in zip(*both, strict=True))
    found = margin(SCORES[name], here, there, threshold, quantile=1.0, neighbours=neighbours)
    assert set(found.flips.tolist()) == sent(name, here, threshold) ^ sent(name, there, threshold)
    assert found.moved[1.0] == max(abs(x - y) for x, y in both)
    assert found.n == len(both)
    if isinstance(threshold, str):
        assert (found.noise, found.near, found.gap, found.clear) == (None, 0, None, True)
        return
    distances = [abs(x - threshold) for x, _ in both]
    assert found.gap == min(distances)
    assert found.near == sum(d <= found.noise for d in distances)
    assert found.clear == (found.gap > found.noise)
    # Ties in the distance may be cut either way: the noise lies between the two.
    edge = sorted(distances)[min(neighbours, len(both)) - 1]
    inside = [abs(x - y) for (x, y), d in zip(both, distances, strict=True) if d < edge]
    upto = [abs(x - y) for (x, y), d in zip(both, distances, strict=True) if d <= edge]
    assert max(inside, default=0) <= found.noise <= max(upto)


def test_the_noise_is_that_of_scores_near_the_threshold():
    """Sure images move a thousandth as much as doubtful ones."""
    rng = np.random.default_rng(0)
    here = np.concatenate([rng.uniform(0.4, 0.6, 1000), rng.uniform(0.98, 1, 9000)])
    moves = np.concatenate([np.full(1000, 1e-2), np.full(9000, 1e-5)])
    found = margin(SCORES["maxp"], here, here - moves, 0.99, neighbours=200)
    assert found.noise == pytest.approx(1e-5)
    assert margin(SCORES["maxp"], here, here - moves, 0.5, neighbours=200).noise == pytest.approx(
        1e-2
    )
    assert found.moved[0.5] == pytest.approx(1e-5)
    assert found.moved[1.0] == pytest.approx(1e-2)


def test_bfloat16_logits_against_float32():
    """Rounding to bfloat16, done here by cutting bits, flips decisions only near λ."""
    rng = np.random.default_rng(1)
    logits = (rng.standard_normal((4000, 10)) * 3).astype(np.float32)
    coarse = (logits.view(np.uint32) & 0xFFFF0000).view(np.float32)
    here, there = (scores_of(z)["maxp"] for z in (logits, coarse))
    found = margin(SCORES["maxp"], here, there, 0.8, quantile=1.0, neighbours=4000)
    assert found.noise == found.moved[1.0]
    assert 0 < len(found.flips) <= found.near < 400
    assert np.all(abs(here[found.flips] - 0.8) <= found.noise)
    assert not found.clear
    same = margin(SCORES["maxp"], here, here.copy(), 0.8)
    assert (same.noise, len(same.flips), same.clear) == (0, 0, True)
