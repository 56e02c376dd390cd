"""The risk–coverage curve and its area against one image at a time, in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from stages.cascade import risk_coverage


def naive(surer, loss):
    """[(coverage, risk)] of every threshold that a confidence is."""
    points = []
    for at in sorted(set(surer), reverse=True):
        kept = [each for own, each in zip(surer, loss, strict=True) if own >= at]
        points.append((Fraction(len(kept), len(loss)), sum(kept, Fraction(0)) / len(kept)))
    return points


def naive_area(surer, loss):
    """The mean over the images of the risk among those at least as sure."""
    total = Fraction(0)
    for own in surer:
        kept = [each for other, each in zip(surer, loss, strict=True) if other >= own]
        total += sum(kept, Fraction(0)) / len(kept)
    return total / len(loss)


def drawn(seed, n, levels):
    rng = np.random.default_rng(seed)
    return rng.integers(0, levels, n) / 16, rng.integers(0, 4, n)


@pytest.mark.parametrize(("n", "levels"), [(1, 1), (2, 2), (40, 3), (40, 16), (60, 100)])
@pytest.mark.parametrize("seed", range(3))
def test_curve_area_and_excess(seed, n, levels):
    surer, loss = drawn(seed, n, levels)
    exact = [Fraction(int(each)) for each in loss]
    found = risk_coverage(surer, loss)
    points = naive(surer.tolist(), exact)
    coverage, risk = (list(map(float, each)) for each in zip(*points, strict=True))
    assert found.coverage == pytest.approx(coverage)
    assert found.risk == pytest.approx(risk)
    area = naive_area(surer.tolist(), exact)
    assert found.area == pytest.approx(float(area))
    best = naive_area(range(n), sorted(exact, reverse=True))
    assert found.excess == pytest.approx(float(area - best))


@pytest.mark.parametrize("levels", [1, 4, 100])
def test_the_jackknife_leaves_out_one_image_at_a_time(levels):
    surer, loss = drawn(5, 30, levels)
    exact = [Fraction(int(each)) for each in loss]
    without = []
    for j in range(30):
        rest = [i for i in range(30) if i != j]
        without.append(float(naive_area(surer[rest].tolist(), [exact[i] for i in rest])))
    error = np.sqrt(29 / 30 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert risk_coverage(surer, loss).interval.half == pytest.approx(1.959964 * error)


def test_of_those_surer_than_any_number_comes_first():
    surer = np.array([0.5, np.inf, 0.9, np.inf])
    found = risk_coverage(surer, np.array([True, False, False, True]))
    assert found.coverage.tolist() == [0.5, 0.75, 1.0]
    assert found.risk == pytest.approx([1 / 2, 1 / 3, 1 / 2])


def test_the_interval_holds_the_area_of_fresh_images():
    """95 % of the time, within three standard errors of that."""
    rng = np.random.default_rng(0)

    def draw(n):
        surer = rng.random(n).round(2)
        return risk_coverage(surer, rng.random(n) > surer)

    truth, held = draw(400_000).area, 0
    for _ in range(300):
        found = draw(200).interval
        held += found.low <= truth <= found.high
    assert 0.90 < held / 300 <= 0.99


def test_a_thinned_curve_is_points_of_the_whole():
    """As few as asked for, evenly, and where all images are answered."""
    rng = np.random.default_rng(3)
    found = risk_coverage(rng.integers(0, 400, 3000), rng.random(3000) < 0.2)
    thin = found.thinned(11)
    whole = dict(zip(found.coverage.tolist(), found.risk.tolist(), strict=True))
    assert [whole[each] for each in thin["coverage"]] == thin["risk"]
    assert thin["coverage"][-1] == 1.0
    for wanted in np.linspace(0, 1, 11):
        assert min(each for each in whole if each >= wanted) in thin["coverage"]
    assert len(thin["coverage"]) <= 11
