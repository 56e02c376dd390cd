"""Certificates of bounded losses: the differences, the refusals, and the promise in simulation."""

from __future__ import annotations

from dataclasses import replace

import naive
import numpy as np
import pytest
from helpers import LOSS_TEXTS, loss_of, random_scores, worth_of
from scipy.stats import binom

from cache import InputError
from stages.cascade import Ordering, decide
from stages.certify import Limits, Sweep, certify_sweeps
from stages.certify.candidates import ImageSubset, lost, propose, won
from stages.costs import ExpectedCosts
from stages.scores import Loss, with_loss
from stages.search import Promise, Space, rules
from stages.search.guarantee import Shortlist
from stages.search.pairs import SearchRule

TABLE = tuple(rules(("maxp",)))


def _population(folder, kind, n=4000):
    """Models of which the second is better, surer where they are right."""
    rng = np.random.default_rng(0)
    scores = random_scores(rng, n, 40, ("small", "large"))
    labels = scores.labels
    sure = {}
    answers = scores.predictions.copy()
    for m, rate in enumerate((0.75, 0.9)):
        right = rng.random(n) < rate
        answers[m] = np.where(right, labels, (labels + rng.integers(1, 3, n)) % 3)
        sure[m] = np.round(rng.beta(2 + 6 * right, 3) * 40) / 40
    values = np.stack([sure[0], sure[1]])
    made = replace(
        scores,
        predictions=answers,
        correct=answers == labels,
        scores=dict.fromkeys(scores.scores, values),
    )
    return with_loss(None, made, loss_of(kind, folder))


def _costs(scores):
    return ExpectedCosts.linear(np.array([1.0, 5.0]), len(scores.labels))


def _shortlist(scores):
    return Shortlist.of(scores, _costs(scores), Space(TABLE), "large")


@pytest.mark.parametrize("kind", LOSS_TEXTS)
def test_every_threshold_differs_as_a_loop_says(tmp_path, kind):
    scores = _population(tmp_path, kind, 60)
    worth, images = worth_of(kind), naive.images_of(scores, 0, 1, "maxp")
    credit = scores.credit
    for post in (False, True):
        rule = SearchRule("maxp", post)
        ordering = Ordering.by(scores, "maxp", 0)
        always = decide(scores, rule.cascade(scores.models, ordering.limit(60))).credit
        sides = credit[1] - credit[0], credit[1] - always
        sweep = Sweep(ordering, *sides, 1.0, 5.0, most=scores.loss.most)
        found = propose([sweep], ImageSubset(np.ones(60, bool)), lambda c: -c.lost, 10**6)
        for cut, more, less in zip(found.cuts, found.lost, found.won, strict=True):
            limit = ordering.limit(int(ordering.escalated_by(np.array(cut))))
            point = naive.point("maxp", images, limit.threshold, post, worth)
            d = [worth(i.label, i.answer_b) - w for i, w in zip(images, point.right, strict=True)]
            told = sweep.differences(cut).tolist()
            assert told == [each * scores.loss.scale for each in d]
            unit = scores.loss.largest
            assert more * 60 == pytest.approx(float(sum(max(x, 0) for x in d)) / unit)
            assert less * 60 == pytest.approx(float(sum(max(-x, 0) for x in d)) / unit)


def test_sides_of_right_answers_are_counts():
    d = np.array([-1, 0, 1, 1], np.int8)
    assert (lost(d).tolist(), won(d).tolist()) == ([0, 0, 1, 1], [1, 0, 0, 0])


@pytest.mark.parametrize("kind", ["decimal", "weights"])
def test_the_promise_holds_in_simulation(tmp_path, kind):
    """Of 300 calibration sets drawn from a known population, at most δ give a cascade that loses
    more than ε above the reference; and most give one."""
    everyone = _population(tmp_path, kind)
    loss, rng = everyone.loss, np.random.default_rng(1)
    epsilon, delta, draws = 0.04 * loss.largest, 0.2, 300
    limits = Limits(epsilon, delta, "betting", loss=loss)
    reference = everyone.credit[1].astype(np.int64).mean()
    broken = certified = 0
    for _ in range(draws):
        drawn = everyone.of_images(rng.integers(0, 4000, 500))
        made = _shortlist(drawn).certified(Promise(limits, "large"))
        if made.point is None or made.point.models == ("large",):
            continue
        certified += 1
        found = decide(everyone, made.point).credit.astype(np.int64).mean()
        broken += (reference - found) / loss.scale > epsilon
    assert certified > draws / 2
    assert broken <= binom.ppf(0.999, draws, delta)


def test_estimates_are_in_units_of_the_loss(tmp_path):
    scores = _population(tmp_path, "decimal")
    limits = Limits(0.2, 0.1, "betting", loss=scores.loss)
    made = _shortlist(scores).certified(Promise(limits, "large"))
    found = decide(scores, made.point).credit.astype(np.int64)
    difference = scores.credit[1] - found
    assert made.facts.difference == pytest.approx(difference.mean() / scores.loss.scale)
    assert made.facts.lost == pytest.approx(np.maximum(difference, 0).mean() / scores.loss.scale)


def test_the_binomial_bound_is_for_losses_of_0_or_1(tmp_path):
    whole = loss_of("whole", tmp_path)
    with pytest.raises(InputError, match=r"binomial bound counts images.*the bound betting"):
        Limits(0.1, 0.1, loss=whole)
    with pytest.raises(InputError, match="epsilon must lie between 0 and 5, found 6"):
        Limits(6, 0.1, "betting", loss=whole)
    assert Limits(2, 0.1, "betting", loss=whole).share == 0.4
    tenths = Loss("tenths", 10, 1 - np.eye(3, dtype=np.int64))
    assert Limits(0.05, 0.1, loss=tenths).share == pytest.approx(0.5)
    assert Limits(0.05, 0.1, loss=Loss("top5", top=5)).share == 0.05


@pytest.mark.parametrize("bound", ["binomial", "betting"])
def test_a_loss_of_1_where_wrong_is_certified_as_accuracy(tmp_path, bound):
    lossy = _population(tmp_path, "whole")
    plain = replace(lossy, loss=None, earned=None)
    wrong = with_loss(None, plain, Loss("wrong", 10, 1 - np.eye(3, dtype=np.int64)))
    one, other = (
        _shortlist(scores).certified(Promise(limits, "large"))
        for scores, limits in (
            (plain, Limits(0.05, 0.1, bound)),
            (wrong, Limits(0.005, 0.1, bound, loss=wrong.loss)),
        )
    )
    assert one.point == other.point
    assert one.certificate.p_values == pytest.approx(other.certificate.p_values, rel=1e-9)


def test_limits_and_sweeps_are_of_one_loss(tmp_path):
    scores = _population(tmp_path, "whole", 100)
    with pytest.raises(ValueError, match="different losses"):
        certify_sweeps(_shortlist(scores).sweeps, Limits(0.05, 0.1))
