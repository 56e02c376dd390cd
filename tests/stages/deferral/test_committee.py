"""Votes, agreement and vote share against one image and one threshold at a time."""

from __future__ import annotations

from collections import Counter
from itertools import product

import naive
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from stages.cascade import votes
from stages.deferral import (
    Ballot,
    Best,
    DeferralResult,
    agreement,
    best_agreements,
    committee,
)
from stages.deferral.fitted_cascade import FittedPart
from stages.threshold import REPEATS, folds

BALLOTS = st.integers(1, 5).flatmap(
    lambda m: st.lists(
        st.lists(st.integers(0, 3), min_size=m + 2, max_size=m + 2), min_size=2, max_size=30
    )
)


def split_of(rows):
    """From rows of M votes, the last model's answer and a label."""
    columns = np.array(rows).T
    return Ballot(columns[:-2], columns[-2], columns[-1])


def vote(ballot):
    counts = Counter(ballot)
    most = max(counts.values())
    return next(answer for answer in ballot if counts[answer] == most), most / len(ballot)


def images(split):
    out = []
    rows = zip(*split.predictions.tolist(), split.last, split.labels, strict=True)
    for *ballot, second, label in rows:
        answer, share = vote(ballot)
        out.append(naive.Image(int(label), answer, int(second), share, 0.0))
    return out


@given(BALLOTS)
@settings(max_examples=100)
def test_votes(rows):
    predictions = split_of(rows).predictions
    answers, shares = votes(predictions)
    expected = [vote(ballot) for ballot in predictions.T.tolist()]
    assert list(zip(answers.tolist(), shares.tolist(), strict=True)) == expected


@given(BALLOTS)
@settings(max_examples=100)
def test_agreement(rows):
    found = agreement(split_of(rows[:1]), split_of(rows)).row.columns()
    right = sent = 0
    for *ballot, second, label in rows:
        agree = len(set(ballot)) == 1
        sent += not agree
        right += (ballot[0] if agree else second) == label
    assert (found["usage"], found["accuracy"]) == (sent / len(rows), right / len(rows))


@given(BALLOTS)
@settings(max_examples=100)
def test_vote_share_against_every_threshold(rows):
    fitting, reporting = split_of(rows), split_of(rows[::2])
    points = naive.all_points("maxp", images(fitting), False)
    n = len(rows)
    for row in (each.row.columns() for each in committee(fitting, reporting)):
        chosen = naive.CHOOSE[row["objective"]](points)
        assert (row["fit_usage"], row["fit_accuracy"]) == (chosen.usage / n, chosen.hits / n)
        on = naive.point("maxp", images(reporting), row["threshold"], False)
        assert (row["usage"], row["accuracy"]) == (on.usage / row["n"], on.hits / row["n"])
        assert row["points"] == len(points)


def test_agreement_is_the_vote_share_of_two():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 2000)
    members = np.where(rng.random((2, 2000)) < 0.7, labels, rng.integers(0, 10, (2, 2000)))
    last = np.where(rng.random(2000) < 0.95, labels, rng.integers(0, 10, 2000))
    ballot = Ballot(members, last, labels)
    found = agreement(ballot, ballot).row.columns()
    swept = next(committee(ballot, ballot, ("1se",))).row.columns()
    for key in ("usage", "accuracy", "accuracy_1", "accuracy_2", "n"):
        assert found[key] == pytest.approx(swept[key])
    assert 0.5 < swept["threshold"] <= 1


def best_trio(answers, labels, kept):
    """Of all trios, image by image: the most accurate, then the least use of C, then the first."""
    value = {}
    for a, b, c in product(range(len(answers)), repeat=3):
        if a < b and c not in (a, b):
            agree = [x == y for x, y in zip(answers[a, kept], answers[b, kept], strict=True)]
            final = np.where(agree, answers[a, kept], answers[c, kept])
            value[a, b, c] = (final == labels[kept]).sum(), sum(agree)
    return max(value, key=value.get)


@pytest.mark.parametrize("seed", range(5))
def test_best_agreements_against_all_triples(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 30)
    answers = np.where(rng.random((5, 30)) < 0.6, labels, rng.integers(0, 3, (5, 30)))
    fits = np.vstack([np.ones((1, 30), bool), rng.random((20, 30)) < 0.5])
    expected = [best_trio(answers, labels, kept) for kept in fits]
    assert best_agreements(answers, answers == labels, fits) == expected
    assert len(set(expected)) > 1


def test_cross_fitted_committees_answer_each_fold_with_the_others_lambda():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 80)
    answers = np.where(rng.random((4, 80)) < 0.5, labels, rng.integers(0, 4, (4, 80)))
    ballot = Ballot(answers[:3], answers[3], labels)
    voters = images(ballot)
    repeats = [folds(80, repeat=r).tolist() for r in range(REPEATS)]
    for found in committee(ballot, ballot):
        objective, n = found.about.objective, 80
        each = naive.cross_fit("maxp", voters, False, objective, repeats)
        accuracy, _ = naive.honest(each, n)
        assert ends(found.accuracy) == pytest.approx(accuracy)
        assert ends(found.row.accuracy) == pytest.approx(accuracy)
        assert [part.correct.sum() for part in found.folds] == [
            held.right for repeat in each for held in repeat
        ]
        final = np.where(found.whole.escalated, answers[3], votes(answers[:3])[0])
        assert found.whole.correct.tolist() == (final == labels).tolist()
        assert ends(found.usage) == pytest.approx(naive.wilson(found.whole.escalated.sum(), n))


def ends(interval):
    return interval.value, interval.low, interval.high


def test_a_committee_is_held_against_its_most_accurate_model_where_it_was_fitted():
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 4, 70)
    answers = np.where(rng.random((4, 70)) < 0.6, labels, rng.integers(0, 4, (4, 70)))
    ballot, right = Ballot(answers[:3], answers[3], labels), answers == labels
    found = agreement(ballot, ballot)
    assert found.whole.baseline == max(range(4), key=lambda m: right[m].sum())
    won, lost, chosen = [0] * REPEATS, [0] * REPEATS, set()
    agree = (answers[:3] == answers[0]).all(axis=0)
    final = np.where(agree, answers[0], answers[3]) == labels
    for r in range(REPEATS):
        fold = folds(70, repeat=r)
        for f in range(5):
            alone = max(range(4), key=lambda m: right[m, fold != f].sum())
            chosen.add(alone)
            won[r] += (final & ~right[alone])[fold == f].sum()
            lost[r] += (~final & right[alone])[fold == f].sum()
    changes = [(w - x) / 70 for w, x in zip(won, lost, strict=True)]
    change = naive.paired_change(np.mean(won), np.mean(lost), 70)
    assert ends(found.change([part.alone for part in found.folds])) == pytest.approx(
        naive.repeated(changes, change)
    )
    assert len(chosen) > 1


def test_the_best_of_several_is_chosen_anew_in_each_fold():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 4, 60)
    answers = np.where(rng.random((6, 60)) < 0.5, labels, rng.integers(0, 4, (6, 60)))
    ballots = [Ballot(answers[[i, i + 1]], answers[i + 2], labels) for i in range(4)]
    candidates = [{None: agreement(ballot, ballot)} for ballot in ballots]
    best = Best(by=None)
    assert best.decided == {}
    for candidate in candidates:
        best.offer(candidate)
    found = best.decided[None]
    assert best.candidates == 4
    right = np.array([c[None].whole.correct for c in candidates])
    spared = ~np.array([c[None].whole.escalated for c in candidates])
    parts, chosen = iter(found.folds), set()
    for r in range(REPEATS):
        fold = folds(60, repeat=r)
        for f in range(5):
            value = [(right[i, fold != f].sum(), spared[i, fold != f].sum()) for i in range(4)]
            winner = value.index(max(value))
            chosen.add(winner)
            assert next(parts).correct.tolist() == right[winner, fold == f].tolist()
    assert len(chosen) > 1
    value = [(right[i].sum(), spared[i].sum()) for i in range(4)]
    assert found.whole.correct.tolist() == right[value.index(max(value))].tolist()


def test_of_equal_fits_the_one_that_asks_less_is_better():
    def fitted(accuracy, usage, name):
        nothing = np.zeros(1, bool)
        part = FittedPart(accuracy, usage, nothing, nothing, 0, nothing)
        return {"best": DeferralResult({}, part, models=(name,))}

    best = Best()
    for each in (fitted(0.8, 0.1, "a"), fitted(0.9, 0.5, "b"), fitted(0.9, 0.3, "c")):
        best.offer(each)
    best.offer(fitted(0.9, 0.3, "d"))
    assert best.decided["best"].models == ("c",)
