"""Which promises hold together, and shares by strata."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from stages.few_labels.strata import holding
from stages.statistics import of_strata, share

P = st.lists(
    st.lists(st.sampled_from([0.0, 0.02, 0.04, 0.05, 0.1, 0.3]), min_size=3, max_size=3),
    min_size=1,
    max_size=4,
)


def _by_graph(p, at, delta):
    """One after the other, as the graph of Bretz et al. says: each stratum has its share of δ,
    and hands it on, evenly, when its last candidate passes."""
    count, strata = len(p), range(len(p[0]))
    alpha = dict.fromkeys(strata, delta / len(p[0]))
    place = dict.fromkeys(strata, 0)
    running = set(strata)
    moved = True
    while moved:
        moved = False
        for s in sorted(running):
            if p[place[s]][s] > alpha[s]:
                continue
            place[s] += 1
            moved = True
            if place[s] == count:
                running.discard(s)
                for other in running:
                    alpha[other] += alpha[s] / len(running)
    return [place[s] >= at > 0 for s in strata]


@settings(max_examples=300)
@given(p=P, data=st.data())
def test_as_the_graph_of_tests_says(p, data):
    at = data.draw(st.integers(0, len(p)))
    assert holding(np.array(p), at, 0.16).tolist() == _by_graph(p, at, 0.16)


def test_one_candidate_is_holm():
    p = np.array([[0.01, 0.04, 0.03, 0.2]])
    assert holding(p, 1, 0.05).tolist() == [True, False, False, False]
    assert holding(p, 1, 0.1).tolist() == [True, True, True, False]
    assert holding(p, 0, 0.1).tolist() == [False] * 4


def test_a_false_promise_is_told_at_most_delta_of_the_time():
    """Chains of true null hypotheses, in each stratum from another candidate on."""
    rng, delta, draws, wrong = np.random.default_rng(4), 0.2, 4000, 0
    first_false = np.array([1, 2, 3, 1, 2])
    for _ in range(draws):
        null = rng.random((4, 5))
        p = np.where(np.arange(4)[:, None] >= first_false, null, 0.0)
        for at in range(1, 5):
            if (holding(p, at, delta) & (at > first_false)).any():
                wrong += 1
                break
    assert wrong / draws <= delta + 3 * np.sqrt(delta * (1 - delta) / draws)
    assert wrong / draws > delta / 4


# --- an accuracy by strata ------------------------------------------------------------------------


def test_a_stratum_that_is_all_is_a_share():
    alone = share(30, 40)
    found = of_strata([(30, 40, 1.0), (0, 5, 0.0)], 10**12)
    assert found.value == alone.value
    assert found.low == pytest.approx(alone.low, abs=1e-6)
    assert found.high == pytest.approx(alone.high, abs=1e-6)


def test_it_covers_the_accuracy_of_the_population():
    """Images answered alike, of which some are sampled, and others, of which all are known."""
    rng, n, sampled, covered, draws = np.random.default_rng(2), 800, 60, 0, 2000
    alike_share, right = 0.93, (0.95, 0.4)
    truth = alike_share * right[0] + (1 - alike_share) * right[1]
    for _ in range(draws):
        alike = rng.random(n) < alike_share
        correct = rng.random(n) < np.where(alike, *right)
        looked = rng.permutation(np.flatnonzero(alike))[:sampled]
        others = np.flatnonzero(~alike)
        counts = [
            (int(correct[looked].sum()), len(looked), float(alike.mean())),
            (int(correct[others].sum()), len(others), float(1 - alike.mean())),
        ]
        found = of_strata(counts, n)
        covered += found.low <= truth <= found.high
    assert 0.93 < covered / draws < 0.985
