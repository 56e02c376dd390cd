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

from stages.cascade import AT, OBJECTIVES, Limit, Ordering, votes
from stages.deferral.fitted_cascade import DeferralResult, Fitted, Side, Swept, cross_fitted
from stages.scores import VOTE_SHARE, ScoreSet

COMMITTEES = ("agreement", VOTE_SHARE.name)  # in the tables of rules
AGREEMENT = Limit(AT, 1.0)  # all members answer alike


@dataclass(frozen=True)
class Ballot:
    """predictions int [M, N] of the members, last int [N] of the last model, labels int [N]."""

    predictions: np.ndarray
    last: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, scores: ScoreSet, members: Sequence[int], last: int) -> Ballot:
        found = scores.predictions
        return cls(found[np.asarray(members)], found[last], scores.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def correct(self) -> np.ndarray:
        """bool [M + 1, N]: each member is right, then the last model."""
        return np.vstack([self.predictions, self.last]) == self.labels

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
        return self.correct[-1].view(np.int8) - self.right.view(np.int8)

    @cached_property
    def side(self) -> Side:
        return Side(Ordering.of(VOTE_SHARE, self.counted[1]), self.right, self.correct)

    def subset(self, keep: np.ndarray) -> Ballot:
        return Ballot(self.predictions[:, keep], self.last[keep], self.labels[keep])


def agreement(fitting: Ballot, reporting: Ballot) -> DeferralResult:
    """The members' answer where all agree, else that of the last model; nothing is fitted.

    `usage` is the share of images that the last model runs on; every member runs on all of them.
    Give the same Ballot twice to cross-fit what chooses among such committees.
    """

    def fitted(fitting: Ballot, reporting: Ballot) -> Iterator[Fitted]:
        swept = Swept(fitting.side, reporting.side)
        yield swept.at(swept.about(COMMITTEES[0], "b", AGREEMENT), fitting.gain, reporting.gain)

    return next(cross_fitted(fitted, fitting, reporting))


def committee(
    fitting: Ballot, reporting: Ballot, objectives: Sequence[str] = OBJECTIVES
) -> Iterator[DeferralResult]:
    """Vote share: the last model runs where it is below λ; one cascade per objective.

    λ is swept exactly over the shares that occur on the fitting images, and cross-fitted where both
    splits are the same Ballot.
    """

    def fitted(fitting: Ballot, reporting: Ballot) -> Iterator[Fitted]:
        swept = Swept(fitting.side, reporting.side)
        about = swept.about(VOTE_SHARE.name, "b")
        yield from swept.fitted(about, fitting.gain, reporting.gain, objectives)

    return cross_fitted(fitted, fitting, reporting)


def best_agreements(
    predictions: np.ndarray, correct: np.ndarray, fits: np.ndarray
) -> list[tuple[int, int, int]]:
    """(A, B, C) of the most accurate agreement of two models with a third, then the least use of C,
    on each of F sets of images.

    predictions int [M, N], correct bool [M, N], M ≥ 3, fits bool [F, N]; the first of equals.
    """
    inside = np.ascontiguousarray(fits.T, np.float64)  # of which sums count exactly
    alone = correct @ inside
    best = np.full((2, len(fits)), -np.inf)
    chosen = [(0, 1, 2)] * len(fits)
    for a, b in combinations(range(len(correct)), 2):
        differ = predictions[a] != predictions[b]
        right = correct[:, differ] @ inside[differ]
        right += alone[a] - right[a]
        right[[a, b]] = -1
        values = np.stack([right.max(axis=0), -inside[differ].sum(axis=0)])
        better = (values[0] > best[0]) | ((values[0] == best[0]) & (values[1] > best[1]))
        best[:, better] = values[:, better]
        for f in np.flatnonzero(better):
            chosen[f] = (a, b, int(right[:, f].argmax()))
    return chosen
