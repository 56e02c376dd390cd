"""A cascade as fitted: its row of the table, and what it does to every reported image.

`Swept` fits and applies any cascade of two answers, `Decided` is one, `Best` chooses among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np

from stages import statistics
from stages.cascade import NEVER, Limit, Ordering, fit
from stages.results import Row
from stages.statistics import Interval, Paired
from stages.threshold import FOLDS, cross_fits

Correct = Sequence[np.ndarray] | np.ndarray


@dataclass(frozen=True, kw_only=True)
class FittedRule(Row):
    """A fitted cascade, but for what its images tell. `n` reported images, `fit_n` that fitted λ;
    `accuracy_1` and `accuracy_2` are those of its two answers."""

    rule: str
    final: str
    objective: str | None = None
    threshold: Limit
    points: int = 1
    n: int
    fit_n: int
    accuracy_1: float
    accuracy_2: float
    temperature_1: float | None = None
    temperature_2: float | None = None


@dataclass(frozen=True, kw_only=True)
class RuleFigures(FittedRule):
    """With what its images tell."""

    accuracy: Interval
    usage: Interval
    fit_accuracy: float
    fit_usage: float


Fitted = tuple[FittedRule, "FittedPart"]


@dataclass(frozen=True)
class FittedPart:
    """One fitting, applied to n images.

    bool [n]: `escalated`, the last model ran; `correct`; `alone`, the model that one would deploy
    instead is right. That is the `baseline`-th of the cascade's models, as `Swept.alone` says.
    """

    fit_accuracy: float
    fit_usage: float
    escalated: np.ndarray
    correct: np.ndarray
    baseline: int
    alone: np.ndarray

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is the better fit: more accurate, then less use of the last model."""
        return self.fit_accuracy, -self.fit_usage


@dataclass(frozen=True)
class DeferralResult:
    """`whole` is fitted on all fitting images; `folds`, where cross-fitted, each on the others, of
    every repeat in the order of `stages.threshold.cross_fits`, and applied to images that had no
    part in its fitting. `models` all run, but for the last one. It is the best of `candidates`.
    """

    about: FittedRule
    whole: FittedPart
    folds: tuple[FittedPart, ...] = ()
    models: tuple[str, ...] = ()
    candidates: int = 1

    @property
    def parts(self) -> tuple[FittedPart, ...]:
        return (self.whole, *self.folds)

    @property
    def judged(self) -> tuple[FittedPart, ...]:
        """What tells how accurate the cascade is: the folds where cross-fitted."""
        return self.folds or (self.whole,)

    @property
    def accuracy(self) -> Interval:
        n, right = len(self.whole.correct), [int(part.correct.sum()) for part in self.judged]
        if not self.folds:
            return statistics.share(right[0], n)
        return statistics.repeated_share(_by_repeat(right), n)

    @property
    def usage(self) -> Interval:
        """Of the last model, at the λ that is deployed."""
        sent = self.whole.escalated
        return statistics.share(int(sent.sum()), len(sent))

    def change(self, others: Sequence[np.ndarray]) -> Interval:
        """Of accuracy, against other answers: bool [n], right, for each of `judged`."""
        right, n = [part.correct for part in self.judged], len(self.whole.correct)
        pairs = [statistics.paired(*both) for both in zip(right, others, strict=True)]
        if not self.folds:
            return statistics.change(pairs[0])
        sides = ([getattr(each, side) for each in pairs] for side in ("won", "lost"))
        repeats = zip(*map(_by_repeat, sides), strict=True)
        return statistics.repeated_change([Paired(won, lost, n) for won, lost in repeats])

    @property
    def row(self) -> RuleFigures:
        return RuleFigures(
            **vars(self.about),
            accuracy=self.accuracy,
            usage=self.usage,
            fit_accuracy=self.whole.fit_accuracy,
            fit_usage=self.whole.fit_usage,
        )


def _by_repeat(counts: Sequence[int]) -> list[int]:
    """Of the folds, those of each repeat together."""
    return [sum(counts[i : i + FOLDS]) for i in range(0, len(counts), FOLDS)]


T = TypeVar("T")


class ImageSet(Protocol):
    """What a cascade knows of N images, and of those where `keep` (bool [N]) holds."""

    def __len__(self) -> int: ...

    def subset(self: T, keep: np.ndarray) -> T: ...


def fitting_images(n: int) -> Iterator[np.ndarray]:
    """bool [n]: those that fit, for every fold of every repeat; they decide the others."""
    for _, rows, _ in cross_fits(n):
        keep = np.zeros(n, bool)
        keep[rows] = True
        yield keep


Known = TypeVar("Known", bound=ImageSet)
Progress = Callable[[int, int], None]


def cross_fitted(
    fitted: Callable[[Known, Known], Iterable[Fitted]],
    fitting: Known,
    reporting: Known,
    progress: Progress = lambda done, total: None,
) -> Iterator[DeferralResult]:
    """The cascades that `fitted` fits on one set of images and applies to another; where both are
    the same, all of it is done again for every fold, on the others alone."""
    cascades = list(fitted(fitting, reporting))
    folds = []
    kept = list(fitting_images(len(fitting))) if reporting is fitting else []
    for done, keep in enumerate(kept):
        progress(done, len(kept))
        again = fitted(fitting.subset(keep), fitting.subset(~keep))
        folds.append([part for _, part in again])
    for i, (about, whole) in enumerate(cascades):
        yield DeferralResult(about, whole, tuple(fold[i] for fold in folds))


@dataclass(frozen=True)
class Side:
    """N images by how sure the first answer is; bool [N], where this is `right`, and where each of
    the `models` is, the one that gives the second answer last."""

    ordering: Ordering
    right: np.ndarray
    models: Correct

    def decided(self, limit: Limit, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the second answer was asked for, the final one is right), bool [N]."""
        escalated = np.zeros(len(self.right), bool)
        escalated[self.ordering.order[: self.ordering.escalated(limit)]] = True
        return escalated, (self.right + gain * escalated).astype(bool)


@dataclass(frozen=True)
class Swept:
    """The images that fit λ, and those that are reported."""

    fitting: Side
    reporting: Side

    @cached_property
    def alone(self) -> tuple[int, np.ndarray]:
        """(which model is the most accurate on the fitting images, the first of equals; where it is
        right on the reported ones)."""
        right = [int(np.count_nonzero(correct)) for correct in self.fitting.models]
        best = right.index(max(right))
        return best, self.reporting.models[best]

    def about(self, rule: str, final: str, limit: Limit = Limit(NEVER)) -> FittedRule:
        """A row of this rule, whose λ may still be to fit."""
        return FittedRule(
            rule=rule,
            final=final,
            threshold=limit,
            n=len(self.reporting.right),
            fit_n=len(self.fitting.right),
            accuracy_1=float(self.reporting.right.mean()),
            accuracy_2=float(self.reporting.models[-1].mean()),
        )

    def fitted(
        self, about: FittedRule, fit_gain: np.ndarray, gain: np.ndarray, objectives: Sequence[str]
    ) -> Iterator[Fitted]:
        """λ by objective. The gains are those of `stages.cascade`, int8 [N] of each split."""
        ordering = self.fitting.ordering
        for objective, point in fit(ordering, fit_gain, tuple(objectives)).items():
            limit, points = ordering.limit(point.k), len(ordering.ends)
            one = replace(about, objective=objective, threshold=limit, points=points)
            yield self.at(one, fit_gain, gain)

    def at(self, about: FittedRule, fit_gain: np.ndarray, gain: np.ndarray) -> Fitted:
        """At a given λ."""
        fit_to, fit_right = self.fitting.decided(about.threshold, fit_gain)
        escalated, right = self.reporting.decided(about.threshold, gain)
        return about, FittedPart(_mean(fit_right), _mean(fit_to), escalated, right, *self.alone)


def _mean(values: np.ndarray) -> float:
    return int(values.sum()) / len(values)


class Best:
    """The candidate with the best fit at objective `by`, all its objectives along.

    In each fold the candidate is chosen anew, so that no image has a part in what answers it. The
    first of equals. Candidates may be many: only the best are kept.
    """

    def __init__(self, by: str | None = "best") -> None:
        self.by = by
        self.candidates = 0
        self._whole: Mapping[str | None, DeferralResult] = {}
        self._parts: list[dict[str | None, FittedPart]] = []

    def offer(self, candidate: Mapping[str | None, DeferralResult]) -> None:
        self.candidates += 1
        for i, part in enumerate(candidate[self.by].parts):
            if i < len(self._parts) and part.rank <= self._parts[i][self.by].rank:
                continue
            if not i:
                self._whole = candidate
            mine = {objective: each.parts[i] for objective, each in candidate.items()}
            self._parts[i : i + 1] = [mine]

    @property
    def decided(self) -> dict[str | None, DeferralResult]:
        """By objective; empty without candidates."""
        folds = {name: tuple(fold[name] for fold in self._parts[1:]) for name in self._whole}
        return {
            name: replace(each, folds=folds[name], candidates=self.candidates)
            for name, each in self._whole.items()
        }
