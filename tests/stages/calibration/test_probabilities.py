"""Isotonic and Platt calibration against loops and scipy; nothing is fitted on what is told."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np
import pytest
from helpers import random_scores
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from cache import InputError
from stages.calibration import calibrated, own_limit
from stages.calibration.probabilities import isotonic, platt
from stages.cascade import Cascade, Limit, decide
from stages.scores import isotonic_curve, named, platt_curve
from stages.threshold import FitPlan

POINTS = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=40)


def pooled(points):
    """Score → share of right answers, neighbours that fall pooled until none does."""
    blocks = []
    for score, group in groupby(sorted(points), key=lambda point: point[0]):
        right = [each for _, each in group]
        blocks.append([[score], sum(right), len(right)])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            scores, hits, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + scores, blocks[-1][1] + hits, blocks[-1][2] + count]
    return {score: hits / count for scores, hits, count in blocks for score in scores}


def arrays(points):
    scores, right = zip(*points, strict=True)
    return np.array(scores, np.float64), np.array(right)


def sets(seed=0, n=80):
    rng = np.random.default_rng(seed)
    fitting, reported = random_scores(rng, n, split="val"), random_scores(rng, n)
    return reported, FitPlan("other-split", "val", fitting, ("as it was",))


@given(POINTS)
@settings(max_examples=60, deadline=None)
def test_isotonic_pools_adjacent_violators(points):
    expected = pooled(points)
    scores = np.array(sorted(expected), np.float64)
    shares = np.array([expected[score] for score in scores])
    curve = partial(isotonic_curve, isotonic(*arrays(points)))
    assert curve(scores) == pytest.approx(shares, abs=1e-12)
    between = np.linspace(-6, 6, 49)
    assert curve(between) == pytest.approx(np.interp(between, scores, shares), abs=1e-12)


@given(POINTS, st.floats(0.01, 1000), st.floats(-1000, 1000))
@settings(max_examples=40, deadline=None)
def test_platt_is_the_most_likely_sigmoid(points, scale, shift):
    sure, right = arrays(points)
    positive = int(right.sum())
    target = np.where(right, (positive + 1) / (positive + 2), 1 / (len(right) - positive + 2))

    def loss(line):
        z = line[0] * sure + line[1]
        return (np.logaddexp(0, z) - target * z).sum()

    how = {"bounds": [(0, None), (None, None)], "options": {"gtol": 1e-9, "ftol": 1e-15}}
    best = minimize(loss, [0.0, 0.0], method="L-BFGS-B", **how)
    found = platt_curve(platt(sure * scale + shift, right), sure * scale + shift)
    assert found == pytest.approx(expit(best.x[0] * sure + best.x[1]), abs=1e-5)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_scores_of_both_sets_become_probabilities_by_the_fitting_images(method):
    reported, plan = sets()
    names = ["maxp", "entropy", "oracle"]
    after, fitted, told = calibrated(reported, plan, method, names)
    assert told == [f"{method}(maxp)", f"{method}(entropy)", "oracle"]
    assert fitted.notes == (
        "as it was",
        f"maxp, entropy calibrated ({method}) on the 80 images of val that fit λ: λ is the "
        "probability that A is right",
    )
    fit, curve = {"isotonic": (isotonic, isotonic_curve), "platt": (platt, platt_curve)}[method]
    for name, new in zip(names[:2], told[:2], strict=True):
        sign = named(name).sign
        assert named(new).comparable
        assert named(new).sign == 1
        for m in range(3):
            by = partial(curve, fit(sign * plan.scores.scores[name][m], plan.scores.correct[m]))
            assert np.array_equal(after.score(new, m), by(sign * reported.scores[name][m]))
            assert np.array_equal(
                fitted.scores.score(new, m), by(sign * plan.scores.scores[name][m])
            )
    assert after.own == reported.own == ("maxp", "difference", "entropy")
    assert np.array_equal(
        after.of_images(slice(3, 9)).scores[told[0]], after.scores[told[0]][:, 3:9]
    )


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_labels_of_reported_images_change_nothing(method):
    reported, plan = sets(1)
    labels = np.random.default_rng(2).permutation(reported.labels)
    other = replace(reported, labels=labels, correct=reported.predictions == labels)
    columns = [calibrated(one, plan, method, ["maxp"])[0].scores for one in (reported, other)]
    assert not np.array_equal(reported.correct, other.correct)
    assert np.array_equal(*(each[f"{method}(maxp)"] for each in columns))


@pytest.mark.parametrize("seed", range(4))
def test_post_check_by_probabilities_against_a_loop(seed):
    reported, plan = sets(seed)
    after, _, [score] = calibrated(reported, plan, "isotonic", ["entropy"])
    tables = [
        pooled(zip((-s).tolist(), right.tolist(), strict=True))
        for s, right in zip(plan.scores.scores["entropy"], plan.scores.correct, strict=True)
    ]
    limit, answers = 0.6, []
    for i in range(len(reported.labels)):
        sure = []
        for m, table in enumerate(tables):
            known = sorted(table)
            each = -reported.scores["entropy"][m, i]
            sure.append(round(np.interp(each, known, [table[x] for x in known]), 12))
        takes_b = sure[0] < limit and sure[1] > sure[0]
        answers.append(reported.predictions[int(takes_b), i])
    rounded = replace(after, scores={score: after.scores[score].round(12)})
    cascade = Cascade.of(reported.models[:2], score, Limit.of(limit), postcheck=True)
    assert decide(rounded, cascade).prediction.tolist() == answers


@pytest.mark.parametrize("method", ["isotonic", "platt"])
@pytest.mark.parametrize("name", ["maxp", "entropy"])
def test_the_limit_in_the_scores_own_unit_decides_alike(method, name):
    reported, plan = sets(5)
    _, fitted, [score] = calibrated(reported, plan, method, [name])
    pair = reported.models[:2]
    for value in (0.0, 0.55, 0.6, 0.7, 1.0, "always", "never"):
        cascade = Cascade.of(pair, score, value)
        own = Cascade.of(pair, name, own_limit(fitted.scores, cascade))
        stages = [decide(fitted.scores, each).stage for each in (cascade, own)]
        assert np.array_equal(*stages)


def test_what_cannot_be_calibrated_is_refused():
    reported, plan = sets()
    assert calibrated(reported, plan, None, ["maxp"]) == (reported, plan, ["maxp"])
    with pytest.raises(InputError, match="the oracle knows what is right"):
        calibrated(reported, plan, "platt", ["oracle"])
    with pytest.raises(InputError, match="unknown calibration 'beta': choose from isotonic, platt"):
        calibrated(reported, plan, "beta", ["maxp"])
    one_split = FitPlan("cross-fit", "test", reported, ())
    with pytest.raises(InputError, match=r"other images than those of test.*--fit-split"):
        calibrated(reported, one_split, "isotonic", ["maxp"])
