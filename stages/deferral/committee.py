"""Committees: several small models all run, and the last model runs where they disagree.

Their answer is that of most members, in a tie the one named by the earliest member; its vote share
is the members behind it over all members. Two members that must agree are the smallest committee.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from stages.deferral.decided import Decided, Part, Row, Swept
from stages.fitting import FOLDS, folds
from stages.rule import Score
from stages.sweep import OBJECTIVES, Ordering

VOTE_SHARE = Score("vote_share", +1)
AGREEMENT = 1.0  # λ: all members answer alike


def votes(predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int [M, N] → the committee's answer int [N] and its vote share float64 [N].

    >>> votes(np.array([[1, 4], [2, 5], [2, 6]]))
    (array([2, 4]), array([0.66666667, 0.33333333]))
    """
    behind = np.array([(predictions == one).sum(axis=0) for one in predictions])
    winner = behind.argmax(axis=0)
    columns = np.arange(predictions.shape[1])
    return predictions[winner, columns], behind[winner, columns] / len(predictions)


@dataclass(frozen=True)
class Ballot:
    """predictions int [M, N] of the members, last int [N] of the last model, labels int [N]."""

    predictions: np.ndarray
    last: np.ndarray
    labels: np.ndarray

    @cached_property
    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        return votes(self.predictions)

    @cached_property
    def right(self) -> np.ndarray:
        """bool [N]: the members' answer is."""
        return self.counted[0] == self.labels

    @property
    def gain(self) -> np.ndarray:
        """int8 [N] of asking the last model."""
        return (self.last == self.labels).view(np.int8) - self.right.view(np.int8)

    @cached_property
    def ordering(self) -> Ordering:
        return Ordering.of(VOTE_SHARE, self.counted[1])

    def subset(self, keep: np.ndarray) -> Ballot:
        return Ballot(self.predictions[:, keep], self.last[keep], self.labels[keep])

    @cached_property
    def folds(self) -> list[tuple[np.ndarray, Ballot, Ballot]]:
        """(rows intp of a fold, the other folds, that fold), for each."""
        fold = folds(len(self.labels))
        return [
            (np.flatnonzero(fold == f), self.subset(fold != f), self.subset(fold == f))
            for f in range(FOLDS)
        ]


def agreement(fitting: Ballot, reporting: Ballot) -> Decided:
    """The members' answer where all agree, else that of the last model; nothing is fitted.

    `usage` is the share of images that the last model runs on; every member runs on all of them.
    Give the same Ballot twice to cross-fit what chooses among such committees.
    """

    def part(fitting: Ballot, reporting: Ballot) -> tuple[Row, Part]:
        return _swept(fitting, reporting).at(AGREEMENT, fitting.gain, reporting.gain)

    row, whole = part(fitting, reporting)
    about = {"objective": None, "threshold_low": None, "threshold_high": None, "points": 1}
    return Decided(
        {"rule": "agreement"} | _about(reporting) | row | about,
        whole,
        tuple(part(others, own)[1].at(rows) for rows, others, own in _folds(fitting, reporting)),
    )


def committee(
    fitting: Ballot, reporting: Ballot, objectives: Sequence[str] = OBJECTIVES
) -> Iterator[Decided]:
    """Vote share: the last model runs where it is below λ; one cascade per objective.

    λ is swept exactly over the shares that occur on the fitting images, and cross-fitted where both
    splits are the same Ballot.
    """

    def parts(fitting: Ballot, reporting: Ballot) -> Iterator[tuple[Row, Part]]:
        swept = _swept(fitting, reporting)
        return swept.fitted(fitting.gain, reporting.gain, objectives)

    held_out = [
        [part.at(rows) for _, part in parts(others, own)]
        for rows, others, own in _folds(fitting, reporting)
    ]
    for i, (row, whole) in enumerate(parts(fitting, reporting)):
        about = {"rule": VOTE_SHARE.name} | _about(reporting) | row
        yield Decided(about, whole, tuple(fold[i] for fold in held_out))


def _swept(fitting: Ballot, reporting: Ballot) -> Swept:
    return Swept(fitting.ordering, reporting.ordering, (fitting.right, reporting.right))


def _folds(fitting: Ballot, reporting: Ballot) -> list[tuple[np.ndarray, Ballot, Ballot]]:
    return fitting.folds if reporting is fitting else []


def _about(reporting: Ballot) -> Row:
    return {
        "final": "b",
        "accuracy_1": float(reporting.right.mean()),
        "accuracy_2": float((reporting.last == reporting.labels).mean()),
    }


def best_agreement(predictions: np.ndarray, correct: np.ndarray) -> tuple[int, int, int]:
    """(A, B, C) of the most accurate agreement of two models with a third, then the least use of C.

    predictions int [M, N], correct bool [M, N], M ≥ 3; the first of equals.
    """
    best, chosen = (-1, 0), (0, 1, 2)
    for a, b in combinations(range(len(correct)), 2):
        differ = predictions[a] != predictions[b]
        right = correct[:, differ].sum(axis=1) + int((correct[a] & ~differ).sum())
        right[[a, b]] = -1
        c = int(right.argmax())
        value = int(right[c]), -int(differ.sum())
        if value > best:
            best, chosen = value, (a, b, c)
    return chosen
