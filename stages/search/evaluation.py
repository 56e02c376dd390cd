"""Operating points on the reported images: one row each, with what they were chosen from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stages.cascade import AT, NEVER, Cascade, Limit, Outcome, decide
from stages.costs import HeldAgainst, Price, Pricer, held_against
from stages.results import Row
from stages.scores import ScoreSet
from stages.simulate import Honest, limit_of_b
from stages.statistics import Interval, change, mean_of, paired, share
from stages.threshold import FitPlan


@dataclass(frozen=True)
class FitFigures:
    """What a point did on the fitting images."""

    accuracy: float
    cost: float


@dataclass(frozen=True, kw_only=True)
class SearchRow(Row):
    """One operating point on the reported images: `kind` says whether it is the answer, a point or
    corner (hull) of the frontier, a single model, or what the answer is compared with.

    Of a model alone `model_2` is None, of a pair `model_3`. λ of A stands in `threshold`, as
    everywhere; B's as a number or null, with `mode_2`. Accuracy is held against `matched`, where a
    model was to be matched, else against the baseline.
    """

    kind: str
    model_1: str
    model_2: str | None = None
    model_3: str | None = None
    score: str | None = None
    postcheck: bool | None = None
    threshold: Limit
    threshold_2: float | None = None
    threshold_2_low: float | None = None
    threshold_2_high: float | None = None
    mode_2: str | None = None
    accuracy: Interval
    usage: Interval
    usage_2: float | None = None
    against: HeldAgainst
    price: Price
    matched: str | None = None
    n: int
    split: str
    fit_accuracy: float | None = None
    fit_cost: float | None = None
    fit_split: str
    fit_method: str
    fit_n: int

    @property
    def models(self) -> tuple[str, ...]:
        names = (self.model_1, self.model_2, self.model_3)
        return tuple(name for name in names if name is not None)

    @property
    def limit_2(self) -> Limit:
        """λ of a chain's second model."""
        kind = AT if self.mode_2 in (None, "threshold") else self.mode_2
        return Limit(kind, self.threshold_2, self.threshold_2_low, self.threshold_2_high)

    @property
    def rule(self) -> tuple[object, ...]:
        """What tells two cascades apart."""
        return (
            self.models,
            self.score,
            self.postcheck,
            self.threshold.threshold,
            self.threshold_2,
        )


@dataclass(frozen=True, kw_only=True)
class AnswerRow(SearchRow):
    """`selected`: the reported images had a part in the choice."""

    selected: bool = False


@dataclass(frozen=True, kw_only=True)
class KeptRow(AnswerRow):
    """A row of results/search."""

    question: str


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

    @property
    def _other(self) -> np.ndarray:
        """bool [N]: the model that accuracy is held against is right, the one to match, else the
        baseline."""
        return self.known.correct[self.known.index(self.matched or self.baseline)]

    def row(
        self,
        kind: str,
        point: Cascade,
        fitted: FitFigures | None = None,
        found: Outcome | None = None,
        honest: Honest | None = None,
    ) -> SearchRow:
        """A point's figures; `found` where the outcome is not the rule's, as an oracle's; `honest`
        where these images chose the point."""
        found = found or decide(self.reported, point)
        bill = self.pricer.bill(point.models, found.stage)
        n, (model_2, model_3, *_) = len(found.correct), (*point.models[1:], None, None)
        first, second, *_ = (*(point.limits or (Limit(NEVER),)), Limit.of(None))
        told = honest or Honest(
            share(int(found.correct.sum()), n), change(paired(found.correct, self._other))
        )
        changed = told.change or change(paired(found.correct, self._other))
        return SearchRow(
            kind=kind,
            model_1=point.models[0],
            model_2=model_2,
            model_3=model_3,
            score=point.score,
            postcheck=None if point.score is None else point.postcheck,
            threshold=first,
            **limit_of_b(second),
            accuracy=told.accuracy,
            usage=share(int((found.stage >= 1).sum()), n),
            usage_2=found.usage(2) if len(point.models) > 2 else None,
            against=held_against(self.known, self.baseline, changed),
            price=self.pricer.against(bill, self.baseline),
            matched=self.matched,
            n=n,
            split=self.reported.split,
            fit_accuracy=None if fitted is None else fitted.accuracy,
            fit_cost=None if fitted is None else fitted.cost,
            fit_split=self.plan.split,
            fit_method=self.plan.method,
            fit_n=len(self.plan.scores.labels),
        )

    def single(self, model: str) -> SearchRow:
        """A model alone."""
        return self.row("single", Cascade.of((model,)))

    def baselines(self, answer: SearchRow, point: Cascade) -> list[SearchRow]:
        """Of a cascade: sending as many images on at random, and the oracle, which sends an image
        on only where that makes the answer right."""
        if len(point.models) == 1:
            return []
        rows = [self.reported.index(model) for model in point.models]
        correct, knowing = self.reported.correct[rows], Cascade.of(point.models, "oracle")
        oracle = self.row(
            "oracle", knowing, found=_oracle(correct, self.reported.predictions[rows])
        )
        return [self._random(answer, point, correct), replace(oracle, postcheck=None)]

    def _random(self, answer: SearchRow, point: Cascade, correct: np.ndarray) -> SearchRow:
        """As the answer, but which images go on is drawn: the mean over all draws."""
        stage = decide(self.reported, point).stage
        shares = np.bincount(stage, minlength=len(correct)) / len(stage)
        expected, price = shares @ correct, answer.price
        if self.pricer.prices.by_request:
            ran = shares[::-1].cumsum()[::-1, None]
            price = self.pricer.against(self.pricer.summed(point.models, ran), self.baseline)
        return replace(
            answer,
            kind="random",
            price=price,
            score=None,
            postcheck=None,
            threshold=Limit("random"),
            threshold_2=None,
            threshold_2_low=None,
            threshold_2_high=None,
            mode_2=None,
            accuracy=mean_of(expected),
            against=replace(answer.against, accuracy_change=mean_of(expected - self._other)),
            fit_accuracy=None,
            fit_cost=None,
        )


def _oracle(correct: np.ndarray, predictions: np.ndarray) -> Outcome:
    """The first model that is right answers; the first of all where none is: [J, N] each."""
    first = correct.argmax(axis=0).astype(np.int8)
    sure = correct.astype(np.float64)
    return Outcome(first, first, np.choose(first, predictions), sure, np.choose(first, correct))
