"""Intervals of mean losses and their changes: by formula, and how often they cover."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from scipy.stats import beta

from stages.statistics import (
    FEW,
    Interval,
    Paired,
    change,
    loss_sums,
    losses_of,
    mean_loss,
    paired,
    repeated_change,
    repeated_losses,
)


def _sums(rng, n, rate, most):
    """(d [N], the loss sums of answers that lose up to `most`, against others)."""
    credit, other = (-rng.integers(1, most + 1, n) * (rng.random(n) < rate) for _ in range(2))
    return credit, other, loss_sums(credit, other)


def test_sums_against_a_loop():
    rng = np.random.default_rng(0)
    credit, other, found = _sums(rng, 50, 0.3, 7)
    for d, told in ((-credit, found[:3]), (other - credit, found[3:])):
        up, down = sum(x for x in d if x > 0), -sum(x for x in d if x < 0)
        assert told.tolist() == [up, down, sum(x * x for x in d)]
    several = loss_sums(np.stack([credit, other]), np.stack([other, other]))
    assert several.tolist() == [found.tolist(), loss_sums(other, other).tolist()]


@pytest.mark.parametrize("seed", range(5))
def test_normal_limits_are_of_the_actual_variance(seed):
    credit, other, sums = _sums(np.random.default_rng(seed), 400, 0.4, 9)
    for d, found in zip(
        (-credit, other - credit),
        (f(p) for f, p in zip((mean_loss, change), losses_of(sums.tolist(), 400, 9), strict=True)),
        strict=True,
    ):
        assert np.abs(d).sum() ** 2 / (d**2).sum() >= FEW
        half = naive.Z * d.std() / math.sqrt(400)
        assert (found.low, found.high) == pytest.approx((d.mean() - half, d.mean() + half))


@pytest.mark.parametrize(("up", "down"), [(0, 0), (1, 0), (7, 12)])
def test_few_differing_images_have_the_limits_of_parts_of_images(up, down):
    """An image that differs by a part of the most counts as that part."""
    d = np.zeros(500, np.int64)
    d[:up], d[up : up + down] = 4, -6
    found = change(losses_of(loss_sums(-d, np.zeros_like(d)).tolist(), 500, 10)[1])
    won, lost = 0.4 * up, 0.6 * down
    (wl, wh), (xl, xh) = _limits(won, 500), _limits(lost, 500)
    below = math.hypot(won / 500 - wl, xh - lost / 500)
    above = math.hypot(wh - won / 500, lost / 500 - xl)
    value = (won - lost) / 500
    expected = (10 * value, 10 * (value - below), 10 * (value + above))
    assert (found.value, found.low, found.high) == pytest.approx(expected)
    alone = mean_loss(losses_of(loss_sums(-np.abs(d), d).tolist(), 500, 10)[0])
    assert (alone.low, alone.high) == pytest.approx(tuple(10 * x for x in _limits(won + lost, 500)))


def _limits(k, n):
    return (beta.ppf(0.025, k, n - k + 1) if k else 0.0), beta.ppf(0.975, k + 1, n - k)


@pytest.mark.parametrize("rate", [0.004, 0.03, 0.3])
def test_intervals_cover_in_simulation(rate):
    """Skewed losses: mostly 1 of 10, now and then 10."""
    rng, n, draws, covered = np.random.default_rng(1), 300, 600, np.zeros(2)
    truth = np.array([rate * (0.9 * 1 + 0.1 * 10), 0])
    for _ in range(draws):
        one, other = (
            -np.where(rng.random(n) < rate, np.where(rng.random(n) < 0.9, 1, 10), 0) for _ in "ab"
        )
        found = repeated_losses(loss_sums(one, other)[None], n, 10, 1)
        covered += [each.low <= t <= each.high for each, t in zip(found, truth, strict=True)]
    assert (covered / draws > 0.92).all()


def test_right_answers_are_a_loss_of_1_where_wrong():
    rng = np.random.default_rng(2)
    for rate in (0.02, 0.3):
        one, other = rng.random((2, 200)) < [[0.9], [0.9 - rate]]
        sums = loss_sums(one.astype(int) - 1, other.astype(int) - 1)
        found = change(losses_of(sums.tolist(), 200, 1)[1])
        told = change(paired(one, other))
        assert (found.value, found.low, found.high) == pytest.approx(
            (-told.value, -told.high, -told.low)
        )


def test_repeats_are_widened_and_bounded():
    rng = np.random.default_rng(3)
    rows = np.stack([_sums(rng, 100, 0.5, 5)[2] for _ in range(10)])
    loss, changed = repeated_losses(rows, 100, 5, 10)
    pairs = [losses_of(row, 100, 5) for row in rows.tolist()]
    assert changed == repeated_change([c for _, c in pairs]).over(10)
    mean = Paired.mean([one for one, _ in pairs])
    one = mean_loss(mean)
    spread = naive.Z * np.std([p.value for p, _ in pairs], ddof=1)
    assert loss.value == pytest.approx(one.value / 10)
    assert loss.high == pytest.approx((one.value + math.hypot(one.high - one.value, spread)) / 10)
    assert Interval(1.0, 0.5, 2.0).over(2) == Interval(0.5, 0.25, 1.0)


@pytest.mark.parametrize(
    ("losses", "rates"),
    [
        ((0, 1, 20), (0.897, 0.1, 0.003)),
        ((0, 1, 100), (0.567, 0.43, 0.003)),
        ((0, 1, 10), (0.796, 0.2, 0.004)),
        ((0, 1, 1000), (0.899, 0.1, 0.001)),
    ],
)
def test_a_large_loss_that_few_images_show_is_not_promised_away(losses, rates):
    """One-sided tests at 5 % err no more often, within the error of 2,000 draws of 500 images."""
    rng, n, draws = np.random.default_rng(5), 500, 2000
    truth = float(np.dot(losses, rates))
    wrong = 0
    for _ in range(draws):
        lost = rng.choice(losses, n, p=rates)
        sums = loss_sums(-lost, np.zeros(n, np.int64)).tolist()
        wrong += mean_loss(losses_of(sums, n, max(losses))[0], 0.9).high < truth
    assert wrong / draws <= 0.05 + 3 * (0.05 * 0.95 / draws) ** 0.5
