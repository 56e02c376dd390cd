"""What a cascade gains and loses on each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.cascade import Cascade, decide
from stages.scores import ScoreSet, right_and_credit


@dataclass(frozen=True)
class ClassChange:
    """Of a class's `n` images the mean loss and the accuracy, of the model that one would deploy
    instead, and of the cascade."""

    label: int
    name: str
    n: int
    loss_before: float
    loss_after: float
    accuracy_before: float
    accuracy_after: float

    @property
    def gained(self) -> float:
        """By how much less is lost on all its images."""
        return self.n * (self.loss_before - self.loss_after)


def by_class(
    reported: ScoreSet, cascade: Cascade, baseline: np.ndarray, names: Sequence[str] = ()
) -> list[ClassChange]:
    """On all reported images, against the `baseline` as `ScoreSet.baseline` gives it; `names` of
    the classes, where they are known."""
    found, scale = decide(reported, cascade), 1
    if reported.loss is not None:
        scale = reported.loss.scale
    right, credit = right_and_credit(baseline)
    sides = ((-credit / scale, right), (-found.credit.astype(np.int64) / scale, found.correct))
    out = []
    for label in np.unique(reported.labels).tolist():
        mine = reported.labels == label
        figures = [[float(each[mine].mean()) for each in side] for side in sides]
        (loss_before, right_before), (loss_after, right_after) = figures
        name = names[label] if label < len(names) else str(label)
        changed = (loss_before, loss_after, right_before, right_after)
        out.append(ClassChange(label, name, int(mine.sum()), *changed))
    return out
