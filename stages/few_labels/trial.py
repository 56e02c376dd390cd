"""Tests in a fixed order by the labels of few images.

Of a candidate only the images where it answers otherwise than the reference need labels, and of
these only those that a coin, thrown for each image beforehand, asks for. A verdict is told as soon
as no label could change it, so that it is that of all labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from stages.certify import betting, binomial

# What labels hold beside classes: not known, and none of the answers that were shown.
UNLABELLED, NEITHER = -1, -2


@dataclass(frozen=True)
class Tally:
    """int [S]: asked-for images that the reference alone or the candidate alone gets right, and
    those without a label."""

    lost: np.ndarray
    won: np.ndarray
    unlabelled: np.ndarray


@dataclass(frozen=True)
class Trial:
    """A candidate on the n calibration images.

    `images` intp [D]: where it answers otherwise than the reference and the coin asks, surest
    first; `answers` and `reference` int32 [D], what the two answer there. `usage` of B and `cost`
    of a request, on all images; `over_cap`: the p-value of "a cap is broken", 0 without one.
    `differing`: on how many the answers differ, asked for or not. Where each of S strata is
    promised its own, `stratum` int [n], S where of none of them, and `sizes` int [S].
    """

    n: int
    images: np.ndarray
    answers: np.ndarray
    reference: np.ndarray
    usage: float
    cost: float
    over_cap: float
    differing: int
    stratum: np.ndarray
    sizes: np.ndarray

    def tally(self, labels: np.ndarray) -> Tally:
        """Of labels int32 [n]: classes, UNLABELLED or NEITHER."""
        known = labels[self.images]
        parts = (known == self.reference, known == self.answers, known == UNLABELLED)
        return Tally(*(self._counted(part) for part in parts))

    def differences(self, labels: np.ndarray) -> np.ndarray:
        """int8 [n]: the reference's correctness minus the candidate's, 0 where no coin asks."""
        out, known = np.zeros(self.n, np.int8), labels[self.images]
        out[self.images] = (known == self.reference).astype(np.int8) - (known == self.answers)
        return out

    def unlabelled(self, labels: np.ndarray) -> np.ndarray:
        """intp, surest first."""
        return self.images[labels[self.images] == UNLABELLED]

    def _counted(self, which: np.ndarray) -> np.ndarray:
        return np.bincount(self._strata[which], minlength=len(self.sizes) + 1)[:-1]

    @cached_property
    def _strata(self) -> np.ndarray:
        return self.stratum[self.images]


@lru_cache(maxsize=4096)
def most_lost(n: int, epsilon: float, delta: float) -> int:
    """The largest E with P(Bin(n, ε) ≤ E) ≤ δ; −1 where there is none."""
    tails = binomial(np.arange(int(n * epsilon) + 1), n, epsilon)
    return int(np.searchsorted(tails, delta, side="right")) - 1


@dataclass(frozen=True)
class SampledTest:
    """H₀: the risk exceeds ε, in any stratum, of images that a coin asks for with probability
    `share`; at level `delta`, by a `bound`. Betting takes the images in an `order`, a permutation
    drawn beforehand."""

    epsilon: float
    delta: float
    bound: str = "binomial"
    share: float = 1.0
    order: np.ndarray | None = field(default=None, repr=False)

    @property
    def level(self) -> float:
        """The most that a sampled image may be lost with."""
        return self.epsilon * self.share

    def allowed(self, trial: Trial) -> np.ndarray:
        """int [S]: as many may be lost."""
        return np.array([most_lost(n, self.level, self.delta) for n in trial.sizes.tolist()], int)

    def verdict(self, trial: Trial, labels: np.ndarray) -> bool | None:
        """Whether the candidate passes; None while labels could say either."""
        if trial.over_cap > self.delta:
            return False
        if self.bound == "betting":
            return None if len(trial.unlabelled(labels)) else self.p(trial, labels) <= self.delta
        tally, most = trial.tally(labels), self.allowed(trial)
        if (tally.lost > most).any():
            return False
        return True if (tally.lost + tally.unlabelled <= most).all() else None

    def p(self, trial: Trial, labels: np.ndarray) -> float:
        """Of the risk, where an image without a label counts as lost; of strata the largest."""
        return float(self.p_of_strata(trial, labels).max())

    def p_of_strata(self, trial: Trial, labels: np.ndarray) -> np.ndarray:
        """float64 [S]."""
        if self.bound == "betting":
            guessed = labels.copy()
            unknown = labels[trial.images] == UNLABELLED
            guessed[trial.images[unknown]] = trial.reference[unknown]
            d, order = trial.differences(guessed), self._order(trial.n)
            stratum = trial.stratum[order]
            return np.array([self._bet(d[order[stratum == s]]) for s in range(len(trial.sizes))])
        tally = trial.tally(labels)
        each = zip((tally.lost + tally.unlabelled).tolist(), trial.sizes.tolist(), strict=True)
        return np.array([binomial(np.array(lost), n, self.level) for lost, n in each])

    def at_once(self, trial: Trial, labels: np.ndarray) -> int:
        """So many labels can be asked for together: fewer cannot decide."""
        tally = trial.tally(labels)
        if self.bound == "betting":
            return int(tally.unlabelled.sum())
        most = self.allowed(trial)
        possible = tally.lost + tally.unlabelled > most
        to_fail = (most + 1 - tally.lost)[possible].min()
        to_pass = np.maximum(tally.lost + tally.unlabelled - most, 0).sum()
        return int(min(to_fail, to_pass))

    def _bet(self, differences: np.ndarray) -> float:
        return float(betting(differences[None], self.level, self.delta)[0])

    def _order(self, n: int) -> np.ndarray:
        return np.arange(n) if self.order is None else self.order


@dataclass(frozen=True)
class Standing:
    """Of candidates in their order so many have `passed`; `failed`: the next one did not, and ends
    the sequence. Else `asks` intp, images of the next one that have no label, surest first, of
    which `at_once` fewer cannot decide; none where nothing is left to test."""

    passed: int
    failed: bool = False
    asks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.intp))
    at_once: int = 0

    @property
    def ended(self) -> bool:
        """No label could change it."""
        return not len(self.asks)


def stand(
    trial_of: Callable[[int], Trial],
    count: int,
    labels: np.ndarray,
    test: SampledTest,
    passed: int = 0,
) -> Standing:
    """Walk in the order, from where so many have passed, to the first that fails or needs labels.
    `trial_of` makes the trial of a candidate, of so many."""
    for c in range(passed, count):
        trial = trial_of(c)
        verdict = test.verdict(trial, labels)
        if verdict is None:
            return Standing(c, False, trial.unlabelled(labels), test.at_once(trial, labels))
        if not verdict:
            return Standing(c, True)
    return Standing(count)
