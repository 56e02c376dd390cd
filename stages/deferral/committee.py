"""Committees: several small models all run, and the last model runs where they disagree.

Their answer is that of most members, in a tie the one named by the earliest member; its vote share
is the members behind it over all members. Two members that must agree are the smallest committee.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stages.rule import Score, Threshold
from stages.sweep import OBJECTIVES, Ordering, fit

VOTE_SHARE = Score("vote_share", +1)
AGREEMENT = 1.0  # λ: all members answer alike
Row = dict[str, Any]


def votes(predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int [M, N] → the committee's answer int [N] and its vote share float64 [N].

    >>> votes(np.array([[1, 4], [2, 5], [2, 6]]))
    (array([2, 4]), array([0.66666667, 0.33333333]))
    """
    behind = np.array([(predictions == one).sum(axis=0) for one in predictions])
    winner = behind.argmax(axis=0)
    columns = np.arange(predictions.shape[1])
    return predictions[winner, columns], behind[winner, columns] / len(predictions)


def agreement(predictions: np.ndarray, last: np.ndarray, labels: np.ndarray) -> Row:
    """The members' answer where all agree, else that of the last model.

    predictions int [M, N], last and labels int [N]. `usage` is the share of images that the last
    model runs on; every member runs on all of them. Nothing is fitted.
    """
    ordering, gain, right = _swept(predictions, last, labels)
    return _row("agreement", AGREEMENT, *_at(ordering, gain, AGREEMENT), right, last == labels)


def committee(
    fitting: tuple[np.ndarray, np.ndarray, np.ndarray],
    reporting: tuple[np.ndarray, np.ndarray, np.ndarray],
    objectives: Sequence[str] = OBJECTIVES,
) -> Iterator[Row]:
    """Vote share: the last model runs where it is below λ; one row per objective.

    Each split is (predictions int [M, N], the last model's answers int [N], labels int [N]); λ is
    swept exactly over the shares that occur on the fitting images.
    """
    ordering, gain, right = _swept(*fitting)
    reported = _swept(*reporting)
    _, last, labels = reporting
    for objective, point in fit(ordering, gain, tuple(objectives)).items():
        threshold, low, high = ordering.interval(point.k)
        k, gained = _at(*reported[:2], threshold)
        n = len(right)
        yield _row("vote_share", threshold, k, gained, reported[2], last == labels) | {
            "objective": objective,
            "threshold_low": low,
            "threshold_high": high,
            "fit_accuracy": (int(right.sum()) + point.gain) / n,
            "fit_usage": point.k / n,
            "fit_n": n,
            "points": len(ordering.ends),
        }


def _swept(
    predictions: np.ndarray, last: np.ndarray, labels: np.ndarray
) -> tuple[Ordering, np.ndarray, np.ndarray]:
    """(ordering by vote share, gain int8 [N] of asking the last model, the members right)."""
    answer, share = votes(predictions)
    right = answer == labels
    gain = (last == labels).view(np.int8) - right.view(np.int8)
    return Ordering.of(VOTE_SHARE, share), gain, right


def _at(ordering: Ordering, gain: np.ndarray, threshold: Threshold) -> tuple[int, int]:
    k = ordering.escalated(threshold)
    return k, int(gain[ordering.order[:k]].sum())


def _row(
    rule: str,
    threshold: Threshold,
    k: int,
    gained: int,
    right: np.ndarray,
    last_right: np.ndarray,
) -> Row:
    n = len(right)
    return {
        "rule": rule,
        "final": "b",
        "threshold": threshold,
        "accuracy": (int(right.sum()) + gained) / n,
        "usage": k / n,
        "accuracy_1": float(right.mean()),
        "accuracy_2": float(last_right.mean()),
        "n": n,
    }
