"""What could be deployed, one model or a chain of any length, and what it does to each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from cache import InputError
from stages.cascade.postcheck import allowed
from stages.scores import UNANSWERED, VOTE_SHARE, Coefficients, checked_by, is_nobody, named

# A number, every image, none, or those whose answer the label says is wrong.
AT, ALWAYS, NEVER, ORACLE = "at", "always", "never", "oracle"
LAST, POSTCHECK, ENSEMBLE = "last", "postcheck", "ensemble"


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
    is trusted, else the next stage runs. The last stage has no limit, a model alone perhaps no
    score. `coefficients` are those of a fitted score. Models `beside` it run with it, and the
    answer is that of most of them. The last may be nobody's: no model runs there."""

    model: str
    score: str | None = None
    limit: Limit | None = None
    runtime: str | None = None
    coefficients: Coefficients | None = None
    beside: tuple[str, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        return (self.model, *self.beside)

    @property
    def name(self) -> str:
        return ",".join(self.members)

    @property
    def nobodys(self) -> bool:
        """What comes here is left unanswered, or a person answers it."""
        return is_nobody(self.model)


@dataclass(frozen=True)
class Cascade:
    """`stages` in the order they run; `final` says how the answer is taken: the LAST stage's that
    ran, by POSTCHECK a later one's only where it is strictly surer than the answer at hand, or that
    of the mean of the probabilities of all that ran, an ENSEMBLE."""

    stages: tuple[Stage, ...]
    final: str = LAST

    @classmethod
    def of(
        cls,
        models: Sequence[str],
        score: str | None = None,
        *limits: Limit | float | str,
        postcheck: bool = False,
        ensemble: bool = False,
        coefficients: Mapping[str, Coefficients] = MappingProxyType({}),
    ) -> Cascade:
        """Of models with one score: a λ fewer than models, none of the oracle's; with the
        `coefficients` of a fitted one by model. InputError where a λ lacks, for a post-check by
        scores that do not compare, and for what a last stage that is nobody's cannot be part of."""
        _check_last(models, postcheck, ensemble)
        if score == ORACLE:
            limits = (Limit.of(None),) * (len(models) - 1)
        if len(limits) != len(models) - 1:
            raise InputError(f"a cascade by {score} needs a λ: give a number, always or never")
        if postcheck and score is not None:
            allowed(named(checked_by(score)), (postcheck,))
        each = [limit if isinstance(limit, Limit) else Limit.of(limit) for limit in limits]
        stages = (
            Stage(model, score, limit, coefficients=coefficients.get(model))
            for model, limit in zip(models, [*each, None], strict=True)
        )
        final = POSTCHECK if postcheck else ENSEMBLE if ensemble else LAST
        return cls(tuple(stages), final)

    @classmethod
    def committee(cls, members: Sequence[str], last: str, limit: Limit) -> Cascade:
        """Members that all run, and the model that answers where their vote share is below λ."""
        first, *beside = members
        name = VOTE_SHARE.name
        return cls((Stage(first, name, limit, beside=tuple(beside)), Stage(last, name)))

    @property
    def models(self) -> tuple[str, ...]:
        """All, in the order they run; the last may be nobody's."""
        return tuple(model for stage in self.stages for model in stage.members)

    @property
    def nobody(self) -> str | None:
        """The name of a last stage that is no model."""
        last = self.stages[-1]
        return last.model if last.nobodys else None

    @property
    def models_that_run(self) -> tuple[str, ...]:
        return self.models if self.nobody is None else self.models[:-1]

    @property
    def names(self) -> tuple[str, ...]:
        """One a stage; members of a committee joined by commas."""
        return tuple(stage.name for stage in self.stages)

    @property
    def coefficients(self) -> dict[str, Coefficients]:
        """Of fitted scores, by model."""
        known = ((each.model, each.coefficients) for each in self.stages)
        return {model: found for model, found in known if found is not None}

    @property
    def averaged(self) -> tuple[str, ...]:
        """The models whose mean answers, none but of an ensemble."""
        return self.models if self.final == ENSEMBLE else ()

    def ran(self, stage: np.ndarray) -> np.ndarray:
        """int8 [N]: the last of `models` that ran where this stage was the last."""
        beside = np.array([len(each.beside) for each in self.stages]).cumsum()
        return np.where(stage < 0, -1, stage + beside[stage]).astype(np.int8)

    @property
    def score(self) -> str | None:
        """The first stage's."""
        return self.stages[0].score

    @property
    def limits(self) -> tuple[Limit, ...]:
        """One fewer than stages."""
        return tuple(stage.limit for stage in self.stages if stage.limit is not None)

    @property
    def postcheck(self) -> bool:
        return self.final == POSTCHECK

    def __str__(self) -> str:
        names = " → ".join(name.replace(",", " + ") for name in self.names)
        if len(self.stages) == 1:
            return f"{names} alone"
        how = {POSTCHECK: " with post-check", ENSEMBLE: " answered by the mean"}
        check = how.get(self.final, "")
        return f"{names} by {self.score}{check} at λ = {', '.join(map(str, self.limits))}"


def _check_last(models: Sequence[str], postcheck: bool, ensemble: bool) -> None:
    """InputError for a stage of nobody's that is not last, and for what takes two answers."""
    for model in filter(is_nobody, models[:-1]):
        raise InputError(f"{model} is no model, and may only be the last stage")
    if not is_nobody(models[-1]):
        return
    if len(models) == 1:
        raise InputError(f"{models[-1]} is no model: name one that runs before it")
    if ensemble:
        raise InputError(f"{models[-1]} gives no probabilities, of which there could be a mean")
    if postcheck and len(models) == 2:
        raise InputError("post-check asks which of two models is surer, and one alone runs")


@dataclass(frozen=True)
class Outcome:
    """Per image [N], of J stages: `stage` int8, the last that ran, and `answered` int8, the one
    whose answer stands, both −1 where a memory answered; `prediction` int32, −1 of a stage that is
    nobody's; `scores` float64 [J, N], of a stage that runs NaN where it did not; `correct` bool,
    empty without labels; `hit` bool, a memory answered, None without one; `failed` bool, a later
    model did and the first one's answer stands, None where nothing runs; `earned`
    int, minus its loss, None without a loss."""

    stage: np.ndarray
    answered: np.ndarray
    prediction: np.ndarray
    scores: Sequence[np.ndarray] | np.ndarray
    correct: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    hit: np.ndarray | None = None
    failed: np.ndarray | None = None
    earned: np.ndarray | None = None

    @property
    def credit(self) -> np.ndarray:
        """int [N]: what the answer is worth, by default 1 where it is right."""
        return self.correct.view(np.int8) if self.earned is None else self.earned

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
    def unanswered(self) -> np.ndarray:
        """bool [N]: no model's answer stands, the last stage being nobody's."""
        return self.prediction == UNANSWERED

    @property
    def score(self) -> np.ndarray:
        """float64 [N]: of the model whose answer stands, NaN where a memory answered."""
        own = np.choose(np.maximum(self.answered, 0), self.scores)
        return np.where(self.answered < 0, np.nan, own)

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())

    def usage(self, stage: int = 1) -> float:
        """The share of the images that this stage, counted from 0, ran on."""
        return float((self.stage >= stage).mean())


def _joined(several: Sequence[Outcome], name: str) -> Any:
    parts = [getattr(one, name) for one in several]
    return None if any(part is None for part in parts) else np.concatenate(parts, axis=-1)
