"""What could be deployed, one model, a cascade of two or a chain of three, and what it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.rule import Threshold, takes_b, trusted
from stages.score import ScoreSet
from stages.scores import named

# λ with the ends of the interval within which no decision on the fitting images changes.
Limit = tuple[Threshold, "float | None", "float | None"]


@dataclass(frozen=True)
class OperatingPoint:
    """`models` in the order they run, each where its λ in `limits` does not trust the one before:
    one λ fewer than models. `score` is None where there is no λ."""

    models: tuple[str, ...]
    score: str | None = None
    postcheck: bool = False
    limits: tuple[Limit, ...] = ()

    def __str__(self) -> str:
        names = " → ".join(self.models)
        if self.score is None:
            return f"{names} alone"
        check = " with post-check" if self.postcheck else ""
        numbers = ", ".join(_shown(threshold) for threshold, _, _ in self.limits)
        return f"{names} by {self.score}{check} at λ = {numbers}"


def _shown(threshold: Threshold) -> str:
    return threshold if isinstance(threshold, str) else f"{threshold:.4g}"


@dataclass(frozen=True)
class Outcome:
    """Per image [N]: `stage` int8, how many models ran after the first; `correct` bool."""

    stage: np.ndarray
    correct: np.ndarray

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    def usage(self, stage: int = 1) -> float:
        """The share of the images that this model, counted from 0, ran on."""
        return float((self.stage >= stage).mean())


def outcome(scores: ScoreSet, point: OperatingPoint) -> Outcome:
    """Decide every image by the rule, model by model.

    A model is trusted by its own score; with post-check its answer replaces the one at hand only
    where it is strictly surer than that.
    """
    rows = [scores.index(model) for model in point.models]
    right = scores.correct[rows[0]].copy()
    stage = np.zeros(len(right), np.int8)
    if point.score is None:
        return Outcome(stage, right)
    score = named(point.score)
    held = sure = scores.score(score.name, rows[0])
    going = np.ones(len(right), bool)
    for row, (threshold, _, _) in zip(rows[1:], point.limits, strict=True):
        going &= ~trusted(score, sure, threshold)
        sure = scores.score(score.name, row)
        taken = going & takes_b(score, held, sure, point.postcheck)
        right = np.where(taken, scores.correct[row], right)
        held = np.where(taken, sure, held)
        stage += going
    return Outcome(stage, right)
