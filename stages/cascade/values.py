"""What could be deployed, one model or a chain of any length, and what it does to each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from cache import InputError
from stages.cascade.postcheck import allowed
from stages.scores import named

# A number, every image, none, or those whose answer the label says is wrong.
AT, ALWAYS, NEVER, ORACLE = "at", "always", "never", "oracle"
LAST, POSTCHECK = "last", "postcheck"


@dataclass(frozen=True)
class Limit:
    """One λ. `kind` is AT the number `value`, else when the next model runs: ALWAYS, NEVER, or as
    the ORACLE says, whose score is 1 where the label says that a model is right.

    No decision on the fitting images changes between `low` and `high`, None where unbounded: within
    (low, high], where smaller is surer within [low, high).
    """

    kind: str
    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(
        cls, threshold: float | str | None, low: float | None = None, high: float | None = None
    ) -> Limit:
        """From what tables and policies hold: a number, "always", "never"; None is the oracle."""
        if isinstance(threshold, str):
            return cls(threshold, None, low, high)
        return cls(ORACLE, 1.0) if threshold is None else cls(AT, threshold, low, high)

    @classmethod
    def parse(cls, text: str) -> Limit:
        """A finite number, `always` or `never`; ValueError otherwise."""
        if text in (ALWAYS, NEVER):
            return cls(text)
        value = float(text)
        if not np.isfinite(value):
            raise ValueError(f"{value} is not finite")
        return cls(AT, value)

    @property
    def threshold(self) -> float | str | None:
        """As tables and policies hold it."""
        return {AT: self.value, ORACLE: None}.get(self.kind, self.kind)

    def columns(self, name: str = "threshold") -> dict[str, float | str | None]:
        """With the ends of its interval, as the columns of a table."""
        return {name: self.threshold, f"{name}_low": self.low, f"{name}_high": self.high}

    def __str__(self) -> str:
        return f"{self.value:.4g}" if self.kind == AT else self.kind


@dataclass(frozen=True)
class Stage:
    """A model, in a runtime where several have its scores; by `score` the `limit` tells whether it
    is trusted, else the next stage runs. The last stage has no limit, a model alone no score."""

    model: str
    score: str | None = None
    limit: Limit | None = None
    runtime: str | None = None


@dataclass(frozen=True)
class Cascade:
    """`stages` in the order they run; `final` says how the answer is taken: the LAST stage's that
    ran, or by POSTCHECK a later one's only where it is strictly surer than the answer at hand."""

    stages: tuple[Stage, ...]
    final: str = LAST

    @classmethod
    def of(
        cls,
        models: Sequence[str],
        score: str | None = None,
        *limits: Limit | float | str,
        postcheck: bool = False,
    ) -> Cascade:
        """Of models with one score: a λ fewer than models, none of the oracle's. InputError where
        one lacks, and for a post-check by scores that do not compare."""
        if score == ORACLE:
            limits = (Limit.of(None),) * (len(models) - 1)
        if len(limits) != len(models) - 1:
            raise InputError(f"a cascade by {score} needs a λ: give a number, always or never")
        if postcheck and score is not None:
            allowed(named(score), (postcheck,))
        each = [limit if isinstance(limit, Limit) else Limit.of(limit) for limit in limits]
        stages = (
            Stage(model, score, limit) for model, limit in zip(models, [*each, None], strict=True)
        )
        return cls(tuple(stages), POSTCHECK if postcheck else LAST)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(stage.model for stage in self.stages)

    @property
    def score(self) -> str | None:
        """The first model's."""
        return self.stages[0].score

    @property
    def limits(self) -> tuple[Limit, ...]:
        """One fewer than models."""
        return tuple(stage.limit for stage in self.stages if stage.limit is not None)

    @property
    def postcheck(self) -> bool:
        return self.final == POSTCHECK

    def __str__(self) -> str:
        names = " → ".join(self.models)
        if len(self.stages) == 1:
            return f"{names} alone"
        check = " with post-check" if self.postcheck else ""
        return f"{names} by {self.score}{check} at λ = {', '.join(map(str, self.limits))}"


@dataclass(frozen=True)
class Outcome:
    """Per image [N], of J stages: `stage` int8, the last that ran, and `answered` int8, the one
    whose answer stands, both −1 where a memory answered; `prediction` int32; `scores` float64
    [J, N], of a stage that runs NaN where it did not; `correct` bool, empty without labels; `hit`
    bool, a memory answered, None without one; `failed` bool, a later model did and the first one's
    answer stands, None where nothing runs."""

    stage: np.ndarray
    answered: np.ndarray
    prediction: np.ndarray
    scores: Sequence[np.ndarray] | np.ndarray
    correct: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    hit: np.ndarray | None = None
    failed: np.ndarray | None = None

    @classmethod
    def joined(cls, several: Sequence[Outcome]) -> Outcome:
        """One after the other; what one of them lacks is None."""
        return cls(*(_joined(several, column.name) for column in fields(cls)))

    @property
    def escalated(self) -> np.ndarray:
        """bool [N]: the second model ran."""
        return self.stage >= 1

    @property
    def took_b(self) -> np.ndarray:
        """bool [N]: the answer is not the first model's."""
        return self.answered >= 1

    @property
    def score(self) -> np.ndarray:
        """float64 [N]: of the model whose answer stands, NaN where a memory answered."""
        own = np.choose(np.maximum(self.answered, 0), self.scores)
        return np.where(self.answered < 0, np.nan, own)

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    def usage(self, stage: int = 1) -> float:
        """The share of the images that this model, counted from 0, ran on."""
        return float((self.stage >= stage).mean())


def _joined(several: Sequence[Outcome], name: str) -> Any:
    parts = [getattr(one, name) for one in several]
    return None if any(part is None for part in parts) else np.concatenate(parts, axis=-1)
