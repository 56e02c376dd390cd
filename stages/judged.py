"""Operating points on the reported images: one row each, with what they were chosen from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.costs import NORMAL
from stages.fitting import FitPlan
from stages.intervals import Interval, change, paired, share, with_ends
from stages.operating import Limit, OperatingPoint, Outcome, outcome
from stages.pricing import Pricer
from stages.rule import NEVER
from stages.score import ScoreSet

Row = dict[str, Any]

NO_LIMIT: Limit = (NEVER, None, None)


@dataclass(frozen=True)
class Fitted:
    """What a point did on the fitting images."""

    accuracy: float
    cost: float


@dataclass(frozen=True)
class Honest:
    """Of folds decided by the others: accuracy, and its change against the model that one would
    deploy instead, chosen on those too."""

    accuracy: Interval
    change: Interval


@dataclass(frozen=True)
class Judge:
    """Rows of results/search, on the reported images. Costs are saved against `baseline`; accuracy
    is held against `matched`, where a model was to be matched, else against the baseline too."""

    reported: ScoreSet
    plan: FitPlan
    pricer: Pricer
    baseline: str
    matched: str | None = None

    @property
    def known(self) -> ScoreSet:
        """The reported images with every model that may be compared with."""
        return self.pricer.scores

    def change(self, correct: np.ndarray, model: str | None = None) -> Interval:
        """Of accuracy, against a model alone: by default the one to match, else the baseline."""
        name = model or self.matched or self.baseline
        return change(paired(correct, self.known.correct[self.known.index(name)]))

    def row(
        self,
        kind: str,
        point: OperatingPoint,
        fitted: Fitted | None = None,
        found: Outcome | None = None,
        honest: Honest | None = None,
    ) -> Row:
        """A point's figures; `found` where the outcome is not the rule's, as an oracle's; `honest`
        where these images chose the point."""
        found = found or outcome(self.reported, point)
        bill = self.pricer.staged(point.models, found.stage)
        n = len(found.correct)
        told = honest or Honest(share(int(found.correct.sum()), n), self.change(found.correct))
        return {
            "kind": kind,
            **about(point),
            **with_ends("accuracy", told.accuracy),
            **with_ends("usage", share(int((found.stage >= 1).sum()), n)),
            "usage_2": found.usage(2) if len(point.models) > 2 else None,
            **self.pricer.against(bill, self.baseline, told.change),
            "matched": self.matched,
            "n": n,
            "split": self.reported.split,
            "fit_accuracy": None if fitted is None else fitted.accuracy,
            "fit_cost": None if fitted is None else fitted.cost,
            "fit_split": self.plan.split,
            "fit_method": self.plan.method,
            "fit_n": len(self.plan.scores.labels),
        }

    def single(self, model: str) -> Row:
        """A model alone."""
        return self.row("single", OperatingPoint((model,)))

    def baselines(self, answer: Row, point: OperatingPoint) -> list[Row]:
        """Of a cascade: sending as many images on at random, and the oracle, which sends an image
        on only where that makes the answer right."""
        if len(point.models) == 1:
            return []
        correct = self.reported.correct[[self.reported.index(model) for model in point.models]]
        knowing = OperatingPoint(point.models, "oracle")
        oracle = self.row("oracle", knowing, found=_oracle(correct)) | {"threshold": None}
        return [self._random(answer, point, correct), oracle | {"postcheck": None}]

    def _random(self, answer: Row, point: OperatingPoint, correct: np.ndarray) -> Row:
        """As the answer, but which images go on is drawn: the mean over all draws."""
        stage = outcome(self.reported, point).stage
        shares = np.bincount(stage, minlength=len(correct)) / len(stage)
        expected = shares @ correct
        held = self.known.correct[self.known.index(self.matched or self.baseline)]
        return answer | {
            "kind": "random",
            "score": None,
            "postcheck": None,
            "threshold": "random",
            **dict.fromkeys(("threshold_low", "threshold_high", "fit_accuracy", "fit_cost")),
            **dict.fromkeys(_SECOND),
            **_mean("accuracy", expected),
            **_mean("accuracy_change", expected - held),
        }


def _oracle(correct: np.ndarray) -> Outcome:
    """The first model that is right answers; the first of all where none is: bool [J, N]."""
    first = correct.argmax(axis=0)
    return Outcome(first.astype(np.int8), correct[first, np.arange(len(first))])


_SECOND = ("threshold_2", "threshold_2_low", "threshold_2_high", "mode_2")


def about(point: OperatingPoint) -> Row:
    """Models and rule. λ of A stands in `threshold`, as everywhere; B's as a number or null, with
    `mode_2`."""
    names = (*point.models, None, None)
    limits: Sequence[Limit] = point.limits or (NO_LIMIT,)
    second = limits[1] if len(limits) > 1 else None
    number = None if second is None or isinstance(second[0], str) else second[0]
    mode = None if second is None else ("threshold" if number is not None else second[0])
    return {
        "model_1": names[0],
        "model_2": names[1],
        "model_3": names[2],
        "score": point.score,
        "postcheck": None if point.score is None else point.postcheck,
        **dict(zip(("threshold", "threshold_low", "threshold_high"), limits[0], strict=True)),
        "threshold_2": number,
        "threshold_2_low": None if second is None else second[1],
        "threshold_2_high": None if second is None else second[2],
        "mode_2": mode,
    }


def _mean(name: str, values: np.ndarray) -> Row:
    value, half = float(values.mean()), NORMAL * float(values.std()) / len(values) ** 0.5
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
