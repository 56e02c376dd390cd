"""All ordered pairs on one halving: λ fitted on one half of the images, told of the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import numpy as np

from stages.cascade import Ordering, pair_gains, sums
from stages.scores import ScoreSet
from stages.statistics import Paired, paired


class Rule(NamedTuple):
    score: str
    postcheck: bool


RULES = tuple(Rule(*each) for each in product(("maxp", "difference"), (False, True)))


@dataclass(frozen=True)
class Asked:
    """Besides the most accurate λ: the cheapest as right on the fitting images as each of the
    `targets` int [T], and the most accurate within each of the `budgets` float64 [U]; `macs`
    float64 [M], NaN where unknown."""

    macs: np.ndarray
    targets: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    budgets: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Points:
    """Fitted cascades, int64 [R, M, M, 1 + T + U]: by rule, first and second model, and what was
    asked for: right answers and images sent to the second model, where it was fitted and where it
    is told of. `fit_right` is −1 where no λ reaches it."""

    fit_right: np.ndarray
    fit_sent: np.ndarray
    right: np.ndarray
    sent: np.ndarray

    def best_rule(self) -> np.ndarray:
        """intp [M, M]: whose most accurate λ is the most right on the fitting images, then sends
        the fewest."""
        right, sent = self.fit_right[..., 0], self.fit_sent[..., 0]
        return np.lexsort((sent, -right), axis=0)[0]


class Halving:
    """M models on N images, `fitting` and `reporting` bool [N]."""

    def __init__(self, scores: ScoreSet, orderings: Orderings, fitting: np.ndarray) -> None:
        self.scores, self.orderings, self.fitting = scores, orderings, fitting
        self.reporting = ~fitting
        self.reported = {key: each.subset(self.reporting) for key, each in orderings.items()}

    def points(self, fittings: Sequence[tuple[np.ndarray, Asked]]) -> list[Points]:
        """Of each fitting: images bool [N], of the fitting half, and what is asked of them."""
        models = range(len(self.scores.models))
        right = [self.scores.correct[:, images].sum(axis=1) for images, _ in fittings]
        blocks: list[list[tuple[np.ndarray, ...]]] = [[] for _ in fittings]
        for rule, a in product(RULES, models):
            gain = np.stack([pair_gains(self.scores, rule.score, a, b, rule.postcheck)
                             for b in models])  # fmt: skip
            reporting = self.reported[rule.score, a]
            reached = sums(gain[:, reporting.order])
            reached += np.count_nonzero(self.scores.correct[a, self.reporting])
            for (images, asked), own, found in zip(fittings, right, blocks, strict=True):
                fitting = self.orderings[rule.score, a].subset(images)
                fit_right, ends = _fitted(gain, fitting, asked, a, own[a])
                sent = reporting.escalated_by(fitting.cuts(ends))
                told = np.take_along_axis(reached, sent, axis=1)
                found.append((fit_right, ends, told, sent))
        shape = (len(RULES), len(models), len(models), -1)
        return [
            Points(*(np.stack(each).reshape(shape) for each in zip(*found, strict=True)))
            for found in blocks
        ]

    def against(self, rule: Rule, a: int, b: int, sent: int, rival: int) -> Paired:
        """The cascade of a and b, which sends the least sure, and a model alone, on the reporting
        half."""
        images = self.reported[rule.score, a].order[:sent]
        right = self.scores.correct[a].copy()
        gain = pair_gains(self.scores, rule.score, a, b, rule.postcheck)
        right[images] = right[images].view(np.int8) + gain[images]
        return paired(right[self.reporting], self.scores.correct[rival, self.reporting])


def _fitted(
    gain: np.ndarray, fitting: Ordering, asked: Asked, a: int, right: int
) -> tuple[np.ndarray, np.ndarray]:
    """(right answers, −1 where no λ reaches what is asked for, images sent to the second model)
    int64 [M, 1 + T + U] of the first model a, which is `right` so often, by gains int8 [M, N]."""
    total = sums(gain[:, fitting.order])[:, fitting.ends]
    place = np.stack([
        _places(each, fitting.ends, asked, right, asked.macs[[a, b]])
        for b, each in enumerate(total)
    ])  # fmt: skip
    reached = np.minimum(place, len(fitting.ends) - 1)
    fitted = right + np.take_along_axis(total, reached, axis=1)
    return np.where(place > reached, -1, fitted), fitting.ends[reached]


def _places(
    total: np.ndarray, ends: np.ndarray, asked: Asked, right: int, macs: np.ndarray
) -> np.ndarray:
    """Indices of the `ends` intp [P], [1 + T + U], where a pair's sweep int32 [P] first reaches
    what is asked for; P where it does not."""
    highest = np.maximum.accumulate(total)
    budget = (asked.budgets - macs[0]) / macs[1] * ends[-1]
    within = np.searchsorted(ends, budget, side="right") - 1
    wanted = [highest[-1:], asked.targets - right, highest[np.maximum(within, 0)]]
    place = np.searchsorted(highest, np.concatenate(wanted))
    place[1 + len(asked.targets) :][~(budget >= 0)] = len(total)  # NaN costs are beyond any budget
    return place


class Orderings(dict[tuple[str, int], Ordering]):
    """By score and model, each sorted once."""

    def __init__(self, scores: ScoreSet) -> None:
        pairs: Iterator[tuple[str, int]] = product(
            dict.fromkeys(rule.score for rule in RULES), range(len(scores.models))
        )
        super().__init__({key: Ordering.by(scores, *key) for key in pairs})
