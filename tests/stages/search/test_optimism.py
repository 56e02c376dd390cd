"""Choices in resamples against loops, and the intervals of choosing against known truths."""

from __future__ import annotations

import tracemalloc

import naive
import numpy as np
import pytest
from scipy.stats import binom

from stages.cascade import Ordering
from stages.scores import SCORES
from stages.search.resampling import Candidate, choice
from stages.statistics import Choice, procedure


def candidate(rng, n, levels=6, name="maxp"):
    score = SCORES[name]
    correct_a, correct_b = rng.random((2, n)) < [[0.6], [0.7]]
    gain = correct_b.view(np.int8) - correct_a.view(np.int8)
    return Candidate(Ordering.of(score, rng.integers(0, levels, n) / levels), gain, correct_a)


def in_image_order(one):
    scores = np.empty(len(one.gain))
    scores[one.ordering.order] = one.ordering.values
    return scores


def images_of(one, bag):
    """naive.Images of a bag: labels are 1, an answer of 1 is right."""
    scores = in_image_order(one)
    right_b = one.correct_a + one.gain
    return [
        naive.Image(1, int(one.correct_a[i]), int(right_b[i]), float(scores[i]), 0.0) for i in bag
    ]


def most_accurate(candidates):
    """In each bag, the first candidate of most right answers, at its least use of B."""

    def choose(weights):
        out = []
        for row in weights:
            tops = []
            for c, one in enumerate(candidates):
                order, ends = one.ordering.order, one.ordering.ends
                right = np.append(0, np.cumsum(row[order] * one.gain[order]))[ends]
                tops.append((row @ one.correct_a + right.max(), -c, int(ends[right.argmax()])))
            _, c, k = max(tops)
            out.append(choice(-c, candidates[-c], row, k))
        return out

    return choose


@pytest.mark.parametrize("name", ["maxp", "entropy"])
@pytest.mark.parametrize("seed", range(12))
def test_choices_against_the_images_of_each_bag(seed, name):
    """The bag as a list of images with repeats, whose λ decides all images."""
    rng = np.random.default_rng(seed)
    one, sign = candidate(rng, 14, name=name), SCORES[name].sign
    everyone = images_of(one, range(14))
    for row in rng.multinomial(14, np.full(14, 1 / 14), size=4):
        bag = np.repeat(np.arange(14), row)
        for k in one.ordering.ends.tolist():
            sent = np.flatnonzero(np.isin(bag, one.ordering.order[:k]))
            threshold, _, _ = naive.interval(name, images_of(one, bag), set(sent.tolist()))
            on = naive.point(name, everyone, threshold, False)
            found = choice(7, one, row, k)
            numbers = {"always": np.inf, "never": -np.inf}
            expected = numbers[threshold] if threshold in numbers else sign * threshold
            assert (found.candidate, found.threshold) == (7, expected)
            assert found.escalated.tolist() == [i in on.sent for i in range(14)]
            assert found.correct.tolist() == list(on.right)


def test_procedure_judges_on_images_that_the_bag_lacks():
    rng = np.random.default_rng(5)
    baseline = rng.random(60) < 0.5
    bags = []

    def choose(weights):
        bags.extend(weights)
        return [Choice(0, 0.0, row == 0, row == 1) for row in weights]  # right where not in the bag

    found = procedure(choose, baseline, resamples=40)
    assert bags.pop().tolist() == [1] * 60  # the images themselves, once
    assert {int(row.sum()) for row in bags} == {60}
    assert (found.accuracy.value, found.usage.value) == (1, 0)
    assert found.optimism == -0.632  # nothing is right where every image is in
    assert found.accuracy_change.value == pytest.approx(
        np.mean([1 - baseline[row == 0].mean() for row in bags])
    )
    assert np.mean([(row == 0).mean() for row in bags]) == pytest.approx(1 / np.e, abs=0.02)


@pytest.mark.parametrize("resamples", [2, 10])
def test_few_resamples_are_as_honest_as_many(resamples):
    """One cascade that is right with chance 0.8: nothing is chosen, so the interval is exact."""
    rng, n, covered, draws = np.random.default_rng(7), 200, 0, 1000
    for seed in range(draws):
        right = rng.random(n) < 0.8

        def choose(weights, right=right):
            return [Choice(0, 0.0, right, right) for _ in weights]

        found = procedure(choose, right, resamples, seed=seed).accuracy
        covered += found.low <= 0.8 <= found.high
    assert binom.ppf(0.001, draws, 0.94) <= covered <= binom.ppf(0.999, draws, 0.95)


def test_memory_is_bounded_by_chunks_and_changes_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    candidates = [candidate(rng, 3000, levels=500) for _ in range(3)]
    baseline = candidates[0].correct_a
    tracemalloc.start()
    try:
        found = procedure(most_accurate(candidates), baseline, resamples=400)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6  # 400 resamples at once take 10 MB an array, and there are five
    monkeypatch.setattr("stages.statistics.bootstrap._CHUNK_BYTES", 1)
    again = procedure(most_accurate(candidates), baseline, resamples=400)
    assert again.accuracy == found.accuracy
    assert np.array_equal(again.chosen, found.chosen)
    assert np.array_equal(again.thresholds, found.thresholds)


def test_the_best_of_500_equal_candidates_is_no_better_than_any():
    """Each is right with the same chance. The naive interval, of the accuracy in the resample that
    chose, never covers the truth."""
    rng = np.random.default_rng(0)
    covered = naive_covered = 0
    told, flattered = [], []
    for seed in range(60):
        right = rng.random((500, 150)) < 0.9
        flattered.append(right.mean(axis=1).max() - 0.9)
        seen = []

        def choose(weights, right=right, seen=seen):
            hits = weights @ right.T.astype(np.int32)
            seen.extend(hits.max(axis=1) / 150)
            return [Choice(c, -np.inf, right[c], np.zeros(150, bool)) for c in hits.argmax(axis=1)]

        found = procedure(choose, right[0], resamples=60, seed=seed)
        covered += found.accuracy.low <= 0.9 <= found.accuracy.high
        low, high = np.quantile(seen, [0.025, 0.975])
        naive_covered += low <= 0.9 <= high
        told.append(found.optimism)
    # Of so many that have nothing in common it is understated, the share that a bag sees.
    assert np.mean(told) == pytest.approx(0.632 * np.mean(flattered), rel=0.1)
    assert naive_covered == 0
    assert covered >= 54  # 57 are expected; 53 or fewer of a 95 % interval: 3 %


def test_procedure_covers_what_a_fitted_cascade_yields():
    """λ is fitted in each resample; the truth is that of the chosen λ on endless images."""
    rng = np.random.default_rng(4)

    def images(n):
        sure = rng.random(n)
        right_a, right_b = rng.random(n) < 0.4 + 0.6 * sure, rng.random(n) < 0.8
        return sure, right_a, right_b

    sure, right_a, right_b = images(400_000)
    order = np.argsort(sure)
    gain = np.append(0, np.cumsum(right_b[order].astype(int) - right_a[order]))
    covered = change_covered = 0
    told, flattered = [], []
    for seed in range(150):
        s, a, b = images(250)
        one = Candidate(Ordering.of(SCORES["maxp"], s), b.view(np.int8) - a.view(np.int8), a)
        own = np.append(0, np.cumsum(one.gain[one.ordering.order]))
        k = int(np.searchsorted(sure[order], one.ordering.values[max(own.argmax() - 1, 0)]))
        flattered.append((a.sum() + own.max()) / 250 - (right_a.sum() + gain[k]) / 400_000)
        found = procedure(most_accurate([one]), b, resamples=60, seed=seed)
        k = np.searchsorted(sure[order], found.thresholds)
        expected = (right_a.sum() + gain[k]).mean() / 400_000
        told.append(found.optimism)
        covered += found.accuracy.low <= expected <= found.accuracy.high
        change = expected - right_b.mean()
        change_covered += found.accuracy_change.low <= change <= found.accuracy_change.high
    assert 0.90 <= covered / 150 <= 1
    assert 0.90 <= change_covered / 150 <= 1
    assert 0.5 < np.mean(told) / np.mean(flattered) < 1.2
