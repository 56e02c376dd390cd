"""Operating points on the reported images: one row each, with what they were chosen from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.cascade import AT, NEVER, ORACLE, Cascade, Limit, Outcome, decide
from stages.costs import Pricer
from stages.scores import ScoreSet
from stages.statistics import Interval, change, mean_of, paired, share, with_ends
from stages.threshold import FitPlan

Row = dict[str, Any]


@dataclass(frozen=True)
class FitFigures:
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
        point: Cascade,
        fitted: FitFigures | None = None,
        found: Outcome | None = None,
        honest: Honest | None = None,
    ) -> Row:
        """A point's figures; `found` where the outcome is not the rule's, as an oracle's; `honest`
        where these images chose the point."""
        found = found or decide(self.reported, point)
        bill = self.pricer.bill(point.models, found.stage)
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
        return self.row("single", Cascade.of((model,)))

    def baselines(self, answer: Row, point: Cascade) -> list[Row]:
        """Of a cascade: sending as many images on at random, and the oracle, which sends an image
        on only where that makes the answer right."""
        if len(point.models) == 1:
            return []
        rows = [self.reported.index(model) for model in point.models]
        correct, knowing = self.reported.correct[rows], Cascade.of(point.models, "oracle")
        oracle = self.row(
            "oracle", knowing, found=_oracle(correct, self.reported.predictions[rows])
        )
        return [self._random(answer, point, correct), oracle | {"postcheck": None}]

    def _random(self, answer: Row, point: Cascade, correct: np.ndarray) -> Row:
        """As the answer, but which images go on is drawn: the mean over all draws."""
        stage = decide(self.reported, point).stage
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
            **with_ends("accuracy", mean_of(expected)),
            **with_ends("accuracy_change", mean_of(expected - held)),
        }


def _oracle(correct: np.ndarray, predictions: np.ndarray) -> Outcome:
    """The first model that is right answers; the first of all where none is: [J, N] each."""
    first = correct.argmax(axis=0).astype(np.int8)
    sure = correct.astype(np.float64)
    return Outcome(first, first, np.choose(first, predictions), sure, np.choose(first, correct))


_SECOND = ("threshold_2", "threshold_2_low", "threshold_2_high", "mode_2")


def about(point: Cascade) -> Row:
    """Models and rule. λ of A stands in `threshold`, as everywhere; B's as a number or null, with
    `mode_2`."""
    names = (*point.models, None, None)
    first, second, *_ = (*(point.limits or (Limit(NEVER),)), Limit.of(None))
    return {
        "model_1": names[0],
        "model_2": names[1],
        "model_3": names[2],
        "score": point.score,
        "postcheck": None if point.score is None else point.postcheck,
        **first.columns(),
        **second.columns("threshold_2"),
        "threshold_2": second.value if second.kind == AT else None,
        "mode_2": {AT: "threshold", ORACLE: None}.get(second.kind, second.kind),
    }
