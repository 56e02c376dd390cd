"""A cascade as fitted: its row of the table, and what it does to every reported image.

`Swept` fits and applies any cascade of two answers, `Decided` is one, `Best` chooses among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np

from stages.cascade import Limit, Ordering, fit
from stages.results import Row
from stages.statistics import (
    Interval,
    Paired,
    change,
    paired,
    repeated_change,
    repeated_share,
    share,
)
from stages.threshold import FOLDS, cross_fits

Objective = str | None
Alone = tuple[int, np.ndarray]
Correct = Sequence[np.ndarray] | np.ndarray


@dataclass(frozen=True, kw_only=True)
class FittedRule(Row):
    """A fitted cascade, but for what its images tell. `n` reported images, `fit_n` that fitted λ;
    `accuracy_1` and `accuracy_2` are those of its two answers."""

    rule: str
    final: str
    objective: Objective = None
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
    instead is right. That is the `baseline`-th of the cascade's models, as `most_accurate` says.
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


def most_accurate(fitting: Correct, reporting: Correct) -> Alone:
    """(which model is the most accurate on the fitting images, the first of equals; where it is
    right on the reported ones), from the models' correctness on both, bool [N] each."""
    right = [int(np.count_nonzero(correct)) for correct in fitting]
    best = right.index(max(right))
    return best, reporting[best]


@dataclass(frozen=True)
class DeferralResult:
    """`whole` is fitted on all fitting images; `folds`, where cross-fitted, each on the others, of
    every repeat in the order of `stages.threshold.cross_fits`, and applied to images that had no
    part in its fitting. `models` all run, but for the last one.
    """

    about: FittedRule
    whole: FittedPart
    folds: tuple[FittedPart, ...] = ()
    models: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[FittedPart, ...]:
        return (self.whole, *self.folds)

    @property
    def judged(self) -> tuple[FittedPart, ...]:
        """What tells how accurate the cascade is: the folds where cross-fitted."""
        return self.folds or (self.whole,)

    @property
    def accuracy(self) -> Interval:
        n, right = len(self.whole.correct), [part.correct.sum() for part in self.judged]
        if not self.folds:
            return share(int(right[0]), n)
        return repeated_share([int(sum(each)) for each in _by_repeat(right)], n)

    @property
    def usage(self) -> Interval:
        """Of the last model, at the λ that is deployed."""
        return share(int(self.whole.escalated.sum()), len(self.whole.escalated))

    def change(self, others: Sequence[np.ndarray]) -> Interval:
        """Of accuracy, against other answers: bool [n], right, for each of `judged`."""
        pairs = [
            paired(part.correct, other) for part, other in zip(self.judged, others, strict=True)
        ]
        if not self.folds:
            return change(pairs[0])
        return repeated_change([_together(each) for each in _by_repeat(pairs)])

    @property
    def row(self) -> RuleFigures:
        return RuleFigures(
            **vars(self.about),
            accuracy=self.accuracy,
            usage=self.usage,
            fit_accuracy=self.whole.fit_accuracy,
            fit_usage=self.whole.fit_usage,
        )


T = TypeVar("T")


def _by_repeat(folds: Sequence[T]) -> list[Sequence[T]]:
    return [folds[i : i + FOLDS] for i in range(0, len(folds), FOLDS)]


def _together(pairs: Sequence[Paired]) -> Paired:
    return Paired(*(sum(getattr(each, name) for each in pairs) for name in ("won", "lost", "n")))


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
class Swept:
    """Fitting and reported images by how sure the first answer is; `right` bool [N] of each, and
    the model that one would deploy instead."""

    fitting: Ordering
    reporting: Ordering
    right: tuple[np.ndarray, np.ndarray]
    alone: Alone

    def fitted(
        self, about: FittedRule, fit_gain: np.ndarray, gain: np.ndarray, objectives: Sequence[str]
    ) -> Iterator[Fitted]:
        """λ by objective. The gains are those of `stages.cascade`, int8 [N] of each split."""
        for objective, point in fit(self.fitting, fit_gain, tuple(objectives)).items():
            limit = self.fitting.limit(point.k)
            one = replace(
                about, objective=objective, threshold=limit, points=len(self.fitting.ends)
            )
            yield self.at(one, fit_gain, gain)

    def at(self, about: FittedRule, fit_gain: np.ndarray, gain: np.ndarray) -> Fitted:
        """At a given λ."""
        sides = (self.fitting, fit_gain, self.right[0]), (self.reporting, gain, self.right[1])
        (fit_to, fit_right), (escalated, right) = (_sent(about.threshold, *side) for side in sides)
        return about, FittedPart(_mean(fit_right), _mean(fit_to), escalated, right, *self.alone)


def _sent(
    limit: Limit, ordering: Ordering, gain: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(the second answer was asked for, the final one is right), bool [N]."""
    escalated = np.zeros(len(right), bool)
    escalated[ordering.order[: ordering.escalated(limit)]] = True
    return escalated, (right + gain * escalated).astype(bool)


def _mean(values: np.ndarray) -> float:
    return int(values.sum()) / len(values)


class Best:
    """The candidate with the best fit at objective `by`, all its objectives along.

    In each fold the candidate is chosen anew, so that no image has a part in what answers it. The
    first of equals. Candidates may be many: only the best are kept.
    """

    def __init__(self, by: Objective = "best") -> None:
        self.by = by
        self.candidates = 0
        self._whole: Mapping[Objective, DeferralResult] = {}
        self._parts: list[dict[Objective, FittedPart]] = []

    def offer(self, candidate: Mapping[Objective, DeferralResult]) -> None:
        self.candidates += 1
        for i, part in enumerate(candidate[self.by].parts):
            if i < len(self._parts) and part.rank <= self._parts[i][self.by].rank:
                continue
            if not i:
                self._whole = candidate
            mine = {objective: each.parts[i] for objective, each in candidate.items()}
            self._parts[i : i + 1] = [mine]

    @property
    def decided(self) -> dict[Objective, DeferralResult]:
        """By objective; empty without candidates."""
        folds = self._parts[1:]
        return {
            objective: replace(each, folds=tuple(fold[objective] for fold in folds))
            for objective, each in self._whole.items()
        }
