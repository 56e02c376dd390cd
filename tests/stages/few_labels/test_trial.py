"""Tests by the labels of few images against exact fractions, and against every way that the labels
which are not known could be."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from few_labels_cases import (
    DELTA,
    EPSILON,
    REFERENCE,
    answered,
    drawn,
    images_of,
    plan_of,
    planned,
)
from hypothesis import given, settings, strategies as st

from stages.cascade import ALWAYS, NEVER, decide
from stages.few_labels.differing import differing
from stages.few_labels.plan import DISAGREEMENT
from stages.few_labels.trial import NEITHER, UNLABELLED, SampledTest, Trial

# --- naive, in exact fractions --------------------------------------------------------------------


def tail(n, p, errors):
    return sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(errors + 1))


def naive_passed(scores, plan, coins):
    """How many candidates pass by all labels; the largest numbers of lost images by fractions."""
    level, n = Fraction(plan.epsilon) * Fraction(plan.share), len(scores.labels)
    for c, candidate in enumerate(plan.candidates):
        errors = 0
        for i in range(n):
            ours, reference = answered(scores, candidate, i), scores.predictions[REFERENCE, i]
            errors += bool(coins[i] and reference == scores.labels[i] and ours != reference)
        if tail(n, level, errors) > Fraction(plan.delta):
            return c
    return len(plan.candidates)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31 - 1), n=st.integers(1, 25), share=st.sampled_from([1.0, 0.5]))
def test_as_naively_in_exact_fractions_with_ties(seed, n, share):
    scores, candidates = drawn(seed, n)
    plan = plan_of(scores, candidates, share=share)
    images = images_of(scores, plan)
    expected = naive_passed(scores, plan, plan.coins)
    assert images.standing(scores.labels.astype(np.int32)).passed == expected
    labels, asked = images.unlabelled, set()
    standing = images.standing(labels)
    while not standing.ended:
        assert 0 < standing.at_once <= len(standing.asks)
        rows = standing.asks[: standing.at_once].tolist()
        assert not asked & set(rows)
        labels[rows] = scores.labels[rows]
        asked |= set(rows)
        standing = images.standing(labels, standing.passed)
    assert standing.passed == expected
    assert all(plan.coins[row] for row in asked)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31 - 1), known=st.integers(0, 3))
def test_a_verdict_is_told_as_soon_as_no_label_could_change_it(seed, known):
    """And not one label is asked for together with others that could have decided without it."""
    scores, candidates = drawn(seed, 12)
    images = images_of(scores, plan_of(scores, candidates))
    for c in range(len(candidates)):
        trial = images.trial(c)
        if len(trial.images) > 7:
            continue
        labels = images.unlabelled
        rows = trial.images[:known]
        labels[rows] = scores.labels[rows]
        left = trial.unlabelled(labels).tolist()
        told = ends(images.test, trial, labels, left)
        assert images.test.verdict(trial, labels) == (told.pop() if len(told) == 1 else None)
        if images.test.verdict(trial, labels) is None:
            fewer = left[: images.test.at_once(trial, labels) - 1]
            assert ends(images.test, trial, labels, fewer) == {None}
            assert ends(images.test, trial, labels, left[: len(fewer) + 1]) != {None}


def completions(rows, trial):
    """Every way to label these: the reference is right, the candidate, or neither."""
    place = {row: k for k, row in enumerate(trial.images.tolist())}
    choices = [
        (int(trial.reference[place[row]]), int(trial.answers[place[row]]), NEITHER) for row in rows
    ]
    return itertools.product(*choices)


def ends(test, trial, labels, rows):
    """The verdicts that labels of these may come to."""
    found = set()
    for values in completions(rows, trial):
        full = labels.copy()
        full[rows] = values
        found.add(test.verdict(trial, full))
    return found


# --- what a trial is ------------------------------------------------------------------------------


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31 - 1), n=st.integers(1, 40))
def test_all_limits_at_once_differ_where_one_by_one_do(seed, n):
    scores, candidates = drawn(seed, n)
    images = images_of(scores, plan_of(scores, candidates, share=0.5))
    cascades = [each.cascade for each in candidates]
    asked = np.random.default_rng(seed).random(n) < 0.5
    found, sent = differing(images.scores, cascades, asked)
    for c, cascade in enumerate(cascades):
        outcome = decide(scores, cascade)
        others = outcome.prediction != scores.predictions[REFERENCE]
        assert found[c] == (others & asked).sum()
        assert sent[c] == outcome.escalated.sum()
        assert images.trial(c).differing == others.sum()


def test_the_images_to_label_are_the_surest_first():
    scores, _ = drawn(5, 60)
    never = planned(("small", "large"), "maxp", NEVER)
    trial = images_of(scores, plan_of(scores, [never])).trial(0)
    sure = scores.scores["maxp"][0]
    assert len(trial.images) > 5
    assert sure[trial.images].tolist() == sorted(sure[trial.images].tolist(), reverse=True)
    others = np.flatnonzero(scores.predictions[0] != scores.predictions[REFERENCE])
    assert sorted(trial.images.tolist()) == others.tolist()


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31 - 1))
def test_candidates_that_pass_whatever_the_labels_are_need_no_look(seed):
    scores, candidates = drawn(seed, 30)
    images = images_of(scores, plan_of(scores, candidates))
    one_by_one = 0
    for c in range(len(candidates)):
        if images.test.verdict(images.trial(c), images.unlabelled) is not True:
            break
        one_by_one += 1
    assert images.free == one_by_one


def test_a_cap_is_a_second_hypothesis():
    """The larger of two p-values counts; what costs more than the cap by A alone never passes."""
    scores, _ = drawn(7, 40)
    rows = [
        planned(("small", "large"), "maxp", ALWAYS, most_usage=most) for most in (1.0, 0.9, -0.1)
    ]
    images = images_of(scores, plan_of(scores, rows))
    assert [images.trial(c).over_cap for c in range(3)] == [0.0, 1.0, 1.0]
    assert [images.test.verdict(images.trial(c), images.unlabelled) for c in range(3)] == [
        True,
        False,
        False,
    ]


def test_disagreement_counts_every_other_answer():
    scores, candidates = drawn(11, 30)
    plan = plan_of(scores, candidates, risk=DISAGREEMENT)
    images = images_of(scores, plan)
    standing = images.standing(images.unlabelled)
    assert standing.ended
    passed = 0
    for candidate in candidates:
        others = sum(
            answered(scores, candidate, i) != scores.predictions[REFERENCE, i] for i in range(30)
        )
        if tail(30, EPSILON, others) > DELTA:
            break
        passed += 1
    assert standing.passed == passed == images.free


# --- betting --------------------------------------------------------------------------------------


def test_betting_waits_for_every_label_and_then_bets_on_the_signed_difference():
    scores, candidates = drawn(13, 40)
    images = images_of(scores, plan_of(scores, candidates, bound="betting"))
    labels = scores.labels.astype(np.int32)
    trial = images.trial(0)
    assert len(trial.images) > 1
    missing = labels.copy()
    missing[trial.images[-1]] = UNLABELLED
    assert images.test.verdict(trial, missing) is None
    assert images.test.at_once(trial, missing) == 1
    right = (scores.predictions[REFERENCE] == labels).astype(float)
    ours = np.array([answered(scores, candidates[0], i) for i in range(40)]) == labels
    assert trial.differences(labels).tolist() == (right - ours).tolist()
    bets = _played((right - ours)[images.plan.order].tolist(), float(EPSILON), float(DELTA))
    assert images.test.p(trial, labels) == pytest.approx(bets, rel=1e-9)


def _played(d, epsilon, delta):
    """Bets on one image after the other; the variance of those before, and of one ±1."""
    capital = highest = 1.0
    for t, each in enumerate(d):
        count, total, square = t + 1, sum(d[:t]), 1 + sum(x * x for x in d[:t])
        variance = max(square / count - (total / count) ** 2, 1e-3 / count)
        bet = min(math.sqrt(2 * math.log(1 / delta) / (len(d) * variance)), 0.75 / (1 - epsilon))
        capital *= 1 + bet * (epsilon - each)
        highest = max(highest, capital)
    return 1 / highest


# --- the promise itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_false_hypothesis_passes_at_most_delta_of_the_time(share):
    """Of a candidate that loses ε, and as little as possible more, by few labels."""
    n, epsilon, delta, draws = 300, 0.05, 0.2, 4000
    rng, test = np.random.default_rng(8), SampledTest(epsilon, delta, share=share)
    passed = 0
    for _ in range(draws):
        lost = rng.random(n) < epsilon + 1e-6
        other = lost | (rng.random(n) < 0.1)
        images = np.flatnonzero(other & (rng.random(n) < share))
        k = len(images)
        whole = {"stratum": np.zeros(n, int), "sizes": np.array([n])}
        trial = Trial(n, images, np.ones(k, int), np.zeros(k, int), 0.5, 1.0, 0.0, k, **whole)
        labels = np.full(n, UNLABELLED, np.int32)
        while test.verdict(trial, labels) is None:
            rows = trial.unlabelled(labels)[: test.at_once(trial, labels)]
            labels[rows] = np.where(lost[rows], 0, 1)
        passed += bool(test.verdict(trial, labels))
    assert passed / draws <= delta + 3 * math.sqrt(delta * (1 - delta) / draws)
    assert passed / draws > delta / 4  # the test is no idle one
