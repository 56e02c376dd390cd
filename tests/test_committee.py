"""Votes, agreement and vote share against one image and one threshold at a time."""

from __future__ import annotations

from collections import Counter

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.deferral import agreement, committee, votes

BALLOTS = st.integers(1, 5).flatmap(
    lambda m: st.lists(
        st.lists(st.integers(0, 3), min_size=m + 2, max_size=m + 2), min_size=2, max_size=30
    )
)


def split_of(rows):
    """(predictions [M, N], last, labels) from rows of M votes, the last model's answer, a label."""
    columns = np.array(rows).T
    return columns[:-2], columns[-2], columns[-1]


def vote(ballot):
    counts = Counter(ballot)
    most = max(counts.values())
    return next(answer for answer in ballot if counts[answer] == most), most / len(ballot)


def images(split):
    predictions, last, labels = split
    out = []
    for *ballot, second, label in zip(*predictions.tolist(), last, labels, strict=True):
        answer, share = vote(ballot)
        out.append(naive.Image(int(label), answer, int(second), share, 0.0))
    return out


@given(BALLOTS)
@settings(max_examples=100)
def test_votes(rows):
    predictions, _, _ = split_of(rows)
    answers, shares = votes(predictions)
    expected = [vote(ballot) for ballot in predictions.T.tolist()]
    assert list(zip(answers.tolist(), shares.tolist(), strict=True)) == expected


@given(BALLOTS)
@settings(max_examples=100)
def test_agreement(rows):
    predictions, last, labels = split_of(rows)
    found = agreement(predictions, last, labels)
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
    for row in committee(fitting, reporting):
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
    found = agreement(members, last, labels)
    swept = next(committee((members, last, labels), (members, last, labels), ("1se",)))
    for key in ("usage", "accuracy", "accuracy_1", "accuracy_2", "n"):
        assert found[key] == pytest.approx(swept[key])
    assert 0.5 < swept["threshold"] <= 1
