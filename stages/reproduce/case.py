"""A setting on one split of the cache: what every figure of it is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.cascade import Cascade
from stages.pricing import Pricer
from stages.reproduce.facts import Paper, Setting
from stages.score import ScoreSet


@dataclass(frozen=True)
class Case:
    """A setting on one split: `reported` holds its two models, `everyone` all that the cache has of
    the same runtime."""

    paper: Paper
    setting: Setting
    reported: ScoreSet
    everyone: ScoreSet
    pricer: Pricer | None

    @property
    def pair(self) -> tuple[int, int]:
        return self.reported.index(self.setting.model_1), self.reported.index(self.setting.model_2)

    @cached_property
    def single(self) -> str:
        """The most accurate single model, of those whose cost is known where any is."""
        known = self.everyone.models if self.pricer is None else self.pricer.prices.forward
        models = [model for model in self.everyone.models if model in known]
        return max(models, key=lambda m: float(self.everyone.accuracy[self.everyone.index(m)]))

    @property
    def rivals(self) -> dict[str, str]:
        """The single models that a cascade is held against."""
        return {"second": self.setting.model_2, "single": self.single}

    def right(self, model: str) -> np.ndarray:
        """bool [N]: where a single model is."""
        return self.everyone.correct[self.everyone.index(model)]

    def cascade(self, threshold: float) -> Cascade:
        setting = self.setting
        models, check = (setting.model_1, setting.model_2), setting.postcheck
        return Cascade.of(models, setting.score, threshold, postcheck=check)
