"""The labels of a plan, asked for picture after picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from stages.few_labels.calibration import CalibrationImages
from stages.few_labels.folder import Folder
from stages.few_labels.incoming import Classes
from stages.few_labels.stage import PlanProgress
from stages.labelling import LabelQuestion, picture


@dataclass
class PlanLabeller:
    """What the page asks; each answer is kept in the plan's folder before the next question. `read`
    gives a sample's picture, uint8 [H, W, 3] or [H, W]; `told` puts the progress in words."""

    folder: Folder
    calibration: CalibrationImages
    classes: Classes
    read: Callable[[int], np.ndarray]
    told: Callable[[PlanProgress], str]
    _given: list[int] = field(default_factory=list)

    @property
    def progress(self) -> PlanProgress:
        return PlanProgress(self.calibration, self.folder.labels(self.calibration.plan))

    def next_question(self) -> LabelQuestion | None:
        rows = self.progress.asks(1)
        return self._question(int(rows[0])) if len(rows) else None

    def answered(self, sample_id: int, index: int | None) -> None:
        """`index` of the question's answers, None where none of them is right."""
        plan, row = self.calibration.plan, self.calibration.rows[sample_id]
        label = None if index is None else self.calibration.answers(row)[index]
        self.folder.keep(plan, self.folder.labels(plan) | {sample_id: label})
        self._given.append(sample_id)

    def undo(self) -> LabelQuestion | None:
        """Of the labels given on the page the last is taken back."""
        if not self._given:
            return None
        plan, sample = self.calibration.plan, self._given.pop()
        known = self.folder.labels(plan)
        known.pop(sample, None)
        self.folder.keep(plan, known)
        return self._question(self.calibration.rows[sample])

    def status(self) -> str:
        return self.told(self.progress)

    def _question(self, row: int) -> LabelQuestion:
        sample = int(self.calibration.scores.sample_ids[row])
        answers = tuple(self.classes.name(each) for each in self.calibration.answers(row))
        return LabelQuestion(
            sample_id=sample,
            key=self.calibration.keys[row],
            picture=picture(self.read(sample)),
            answers=answers,
        )
