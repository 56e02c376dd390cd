"""Intervals against other libraries, plain formulas, and known truths in simulation."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from naive import exact_change
from scipy.stats import binom, binomtest, bootstrap

from stages.statistics import (
    FEW,
    Paired,
    change,
    exact_share,
    images_needed,
    least,
    most,
    paired,
    repeated_change,
    repeated_share,
    share,
    with_ends,
)

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from((0.9, 0.95, 0.99)))
@settings(max_examples=80)
def test_shares_are_those_of_scipy(counts, level):
    count, n = counts
    theirs = binomtest(count, n).proportion_ci(level, method="wilson")
    found = share(count, n, level)
    assert (found.value, found.low, found.high) == pytest.approx((count / n, *theirs), abs=1e-12)
    theirs = binomtest(count, n).proportion_ci(level, method="exact")
    ends = least(count, n, (1 - level) / 2), most(count, n, (1 - level) / 2)
    assert ends == pytest.approx(tuple(theirs), abs=1e-9)
    exact = exact_share(count, n, level)
    assert (exact.value, exact.low, exact.high) == (count / n, *ends)


def test_paired_counts_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 60)) < 0.6
    both = list(zip(one.tolist(), other.tolist(), strict=True))
    won, lost = both.count((True, False)), both.count((False, True))
    assert paired(one, other) == Paired(won, lost, 60)
    assert paired(one, other).value == pytest.approx(one.mean() - other.mean())


def test_where_many_differ_the_limits_are_those_of_a_bootstrap():
    rng = np.random.default_rng(3)
    one, other = rng.random((2, 800)) < [[0.8], [0.7]]
    theirs = bootstrap(
        (one.astype(int) - other,), np.mean, n_resamples=20_000, method="percentile", rng=1,
        batch=2000,
    ).confidence_interval  # fmt: skip
    found = change(paired(one, other))
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1.5 / 800)


@given(st.integers(0, FEW - 1), st.integers(0, FEW - 1), st.integers(60, 900))
@settings(max_examples=60)
def test_where_few_differ_the_limits_are_exact(won, lost, n):
    found = change(Paired(won, lost, n))
    assert found.value == (won - lost) / n
    if won + lost < FEW:
        assert (found.low, found.high) == pytest.approx(exact_change(won, lost, n), abs=1e-9)
    else:
        assert found.high - found.value == pytest.approx(found.value - found.low)


def test_no_difference_among_few_images_is_not_surely_none():
    found = change(Paired(0, 0, 500))
    assert found.low < -0.007 < 0.007 < found.high
    # Half a point wants 600 images even without one lost.
    assert change(Paired(0, 0, 597), 0.9).low < -0.005 < change(Paired(0, 0, 598), 0.9).low


@pytest.mark.parametrize(
    ("won", "lost"), [(0.004, 0.004), (0.0, 0.003), (0.02, 0.02), (0.01, 0.03), (0.2, 0.1)]
)
def test_each_limit_errs_at_most_as_often_as_it_says(won, lost):
    rng, draws = np.random.default_rng(0), 3000
    counts = rng.multinomial(500, [won, lost, 1 - won - lost], draws).tolist()
    found = [change(Paired(*row[:2], 500)) for row in counts]
    allowed = binom.ppf(0.999, draws, 0.027)  # the normal limits are a little off
    assert sum(each.low > won - lost for each in found) <= allowed
    assert sum(each.high < won - lost for each in found) <= allowed


def test_repeats_widen_by_the_formula():
    """± 1.96·√(v/n + s²) of a plain loop, where many images differ."""
    rng, n, z = np.random.default_rng(1), 400, NormalDist().inv_cdf(0.975)
    outcomes = rng.choice([-1, 0, 1], size=(10, n), p=[0.15, 0.6, 0.25])
    means = outcomes.mean(axis=1)
    v, s2 = np.mean([row.var() for row in outcomes]), means.var(ddof=1)
    found = repeated_change(
        [Paired(int((row > 0).sum()), int((row < 0).sum()), n) for row in outcomes]
    )
    half = z * math.sqrt(v / n + s2)
    assert found.value == pytest.approx(means.mean())
    assert (found.value - found.low, found.high - found.value) == pytest.approx(
        (half, half), rel=2e-3
    )
    right = rng.random((10, n)) < 0.7
    told = repeated_share(right.sum(axis=1).tolist(), n)
    spread = right.mean(axis=1).var(ddof=1)
    half = z * math.sqrt(right.mean() * (1 - right.mean()) / n + spread)
    assert told.value == pytest.approx(right.mean())
    assert (told.high - told.low) / 2 == pytest.approx(half, rel=0.02)


def test_repeats_that_agree_are_one():
    assert repeated_share([30] * 10, 40) == share(30, 40)
    assert repeated_change([Paired(3, 2, 40)] * 10) == change(Paired(3, 2, 40))


def test_images_that_would_tell():
    """Of two that are equally right and differ on a tenth, so many show it four times in five."""
    n = images_needed(0.1, 0.02)
    assert n == pytest.approx(6.18 * 0.1 / 0.02**2, rel=0.01)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(n, [0.05, 0.05, 0.9], 2000).tolist()
    told = np.mean([change(Paired(*row[:2], n), 0.9).low > -0.02 for row in counts])
    assert told == pytest.approx(0.8, abs=0.04)
    assert images_needed(0.0, 0.005) == math.ceil(math.log(0.05) / math.log(0.995)) == 598


def test_columns():
    assert with_ends("x", share(1, 2)).keys() == {"x", "x_low", "x_high"}
    assert set(with_ends("x", None).values()) == {None}
