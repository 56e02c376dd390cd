"""A cascade as fitted: its row of the table, and what it does to every reported image.

`Swept` fits and applies any cascade of two answers, `Decided` is one, `Best` chooses among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from stages.rule import Threshold
from stages.sweep import Ordering, fit

Row = dict[str, Any]
Objective = str | None


@dataclass(frozen=True)
class Part:
    """One fitting, applied to some of the N reported images.

    `rows` intp [n], which images; `escalated`, the last model ran, and `correct`, bool [n].
    """

    fit_accuracy: float
    fit_usage: float
    rows: np.ndarray
    escalated: np.ndarray
    correct: np.ndarray

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is the better fit: more accurate, then less use of the last model."""
        return self.fit_accuracy, -self.fit_usage

    def at(self, rows: np.ndarray) -> Part:
        """The same, the images being `rows` of the reported ones."""
        return replace(self, rows=rows)


@dataclass(frozen=True)
class Decided:
    """`about`: the columns of the fitted cascade that its images do not tell.

    `whole` is fitted on all fitting images; `folds`, where cross-fitted, each on the others, and
    applied to images that had no part in its fitting. `models` all run, but for the last one.
    """

    about: Row
    whole: Part
    folds: tuple[Part, ...] = ()
    models: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.whole, *self.folds)

    @cached_property
    def honest(self) -> Part:
        """What is to be reported of all N images: the folds' decisions where cross-fitted."""
        if not self.folds:
            return self.whole
        escalated, correct = np.empty((2, len(self.whole.rows)), bool)
        for part in self.folds:
            escalated[part.rows], correct[part.rows] = part.escalated, part.correct
        return replace(self.whole, escalated=escalated, correct=correct)

    @property
    def row(self) -> Row:
        crossfit = shares("crossfit_", self.honest) if self.folds else NO_CROSSFIT
        return self.about | shares("", self.whole) | crossfit


NO_CROSSFIT: Row = {"crossfit_accuracy": None, "crossfit_usage": None}


@dataclass(frozen=True)
class Swept:
    """Fitting and reported images by how sure the first answer is; `right` bool [N] of each."""

    fitting: Ordering
    reporting: Ordering
    right: tuple[np.ndarray, np.ndarray]

    def fitted(
        self, fit_gain: np.ndarray, gain: np.ndarray, objectives: Sequence[str]
    ) -> Iterator[tuple[Row, Part]]:
        """λ by objective. The gains are those of `stages.sweep`, int8 [N] of each split."""
        for objective, point in fit(self.fitting, fit_gain, tuple(objectives)).items():
            threshold, low, high = self.fitting.interval(point.k)
            limits = {"threshold_low": low, "threshold_high": high}
            row, part = self.at(threshold, fit_gain, gain)
            about = {"objective": objective, "points": len(self.fitting.ends)}
            yield row | limits | about, part

    def at(self, threshold: Threshold, fit_gain: np.ndarray, gain: np.ndarray) -> tuple[Row, Part]:
        """A given λ."""
        sides = (self.fitting, fit_gain, self.right[0]), (self.reporting, gain, self.right[1])
        (fit_to, fit_right), (escalated, right) = (_sent(threshold, *side) for side in sides)
        part = Part(_mean(fit_right), _mean(fit_to), np.arange(len(right)), escalated, right)
        return {
            "threshold": threshold,
            "fit_accuracy": part.fit_accuracy,
            "fit_usage": part.fit_usage,
            "n": len(right),
            "fit_n": len(fit_right),
        }, part


def _sent(
    threshold: Threshold, ordering: Ordering, gain: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(the second answer was asked for, the final one is right), bool [N]."""
    escalated = np.zeros(len(right), bool)
    escalated[ordering.order[: ordering.escalated(threshold)]] = True
    return escalated, (right + gain * escalated).astype(bool)


def _mean(values: np.ndarray) -> float:
    return int(values.sum()) / len(values)


def shares(prefix: str, part: Part) -> Row:
    return {f"{prefix}accuracy": _mean(part.correct), f"{prefix}usage": _mean(part.escalated)}


class Best:
    """The candidate with the best fit at objective `by`, all its objectives along.

    In each fold the candidate is chosen anew, so that no image has a part in what answers it. The
    first of equals. Candidates may be many: only the best are kept.
    """

    def __init__(self, by: Objective = "best") -> None:
        self.by = by
        self.candidates = 0
        self._chosen: list[Mapping[Objective, Decided]] = []

    def offer(self, candidate: Mapping[Objective, Decided]) -> None:
        self.candidates += 1
        parts = candidate[self.by].parts
        self._chosen = self._chosen or [candidate] * len(parts)
        for i, part in enumerate(parts):
            if part.rank > self._chosen[i][self.by].parts[i].rank:
                self._chosen[i] = candidate

    @property
    def decided(self) -> dict[Objective, Decided]:
        """By objective; empty without candidates."""
        objectives = self._chosen[0] if self._chosen else {}
        return {each: _joined([chosen[each] for chosen in self._chosen]) for each in objectives}


def _joined(chosen: Sequence[Decided]) -> Decided:
    """The first fitted on all images, the others each in its own fold."""
    folds = (one.parts[i] for i, one in enumerate(chosen) if i)
    return replace(chosen[0], folds=tuple(folds))
