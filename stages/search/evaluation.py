"""Operating points on the reported images: one row each, with what they were chosen from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from stages.cascade import AT, NEVER, Cascade, Limit, Outcome, decide
from stages.costs import HeldAgainst, Price, Pricer, held_against
from stages.results import Row
from stages.scores import ScoreSet, right_and_credit
from stages.simulate import Honest, Tail, limit_of_b, tail_of
from stages.statistics import (
    Interval,
    change,
    loss_sums,
    mean_of,
    paired,
    repeated_losses,
    share,
)
from stages.threshold import FitPlan


@dataclass(frozen=True)
class FitFigures:
    """What a point did on the fitting images."""

    accuracy: float
    cost: float
    loss: float | None = None


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
    tail: Tail
    matched: str | None = None
    n: int
    split: str
    fit_accuracy: float | None = None
    fit_cost: float | None = None
    fit_split: str
    fit_method: str
    fit_n: int
    loss: Interval | None = None
    loss_change: Interval | None = None
    fit_loss: float | None = None
    abstained: Interval | None = None
    answered_accuracy: Interval | None = None
    expected_accuracy: float | None = None

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
    def gain(self) -> Interval:
        """By how much more accurate it is, or under a loss by how much less it loses."""
        if self.loss_change is None:
            return self.against.accuracy_change
        return self.loss_change.negative

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
        """Of the model that accuracy is held against, the one to match, else the baseline, as
        `ScoreSet.baseline` gives it."""
        return self.known.baseline(self.known.index(self.matched or self.baseline))

    def _honest(self, found: Outcome) -> Honest:
        """What the reported images say."""
        (right, credit), n = right_and_credit(self._other), len(found.correct)
        told = share(int(found.correct.sum()), n), change(paired(found.correct, right))
        loss = self.reported.loss
        if loss is None:
            return Honest(*told)
        sums = loss_sums(found.credit, credit)[None]
        return Honest(*told, *repeated_losses(sums, n, loss.most, loss.scale))

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
        told, (abstained, answered) = honest or self._honest(found), self._abstained(found)
        changed = told.change or change(paired(found.correct, right_and_credit(self._other)[0]))
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
            tail=tail_of(self.pricer, point, found, self.reported.sample_ids),
            matched=self.matched,
            n=n,
            split=self.reported.split,
            fit_accuracy=None if fitted is None else fitted.accuracy,
            fit_cost=None if fitted is None else fitted.cost,
            fit_split=self.plan.split,
            fit_method=self.plan.method,
            fit_n=len(self.plan.scores.labels),
            loss=told.loss,
            loss_change=told.loss_change,
            fit_loss=None if fitted is None else fitted.loss,
            abstained=abstained,
            answered_accuracy=answered,
            expected_accuracy=self._expected(found),
        )

    def _expected(self, found: Outcome) -> float | None:
        """Accuracy, where a person is right as often as is said."""
        last = self.reported.nobody
        if last is None or last.accuracy is None:
            return None
        right, sent = int(found.correct.sum()), int(found.unanswered.sum())
        return float((right + sent * Fraction(str(last.accuracy))) / len(found.correct))

    def _abstained(self, found: Outcome) -> tuple[Interval | None, Interval | None]:
        """Where a last stage may be no model, what comes there, and how many of the others are
        right."""
        if self.reported.nobody is None:
            return None, None
        sent, n = found.unanswered, len(found.correct)
        count, right = int(sent.sum()), int(found.correct[~sent].sum())
        return share(count, n), share(right, n - count) if count < n else None

    def single(self, model: str) -> SearchRow:
        """A model alone."""
        return self.row("single", Cascade.of((model,)))

    def baselines(self, answer: SearchRow, point: Cascade) -> list[SearchRow]:
        """Of a cascade: sending as many images on at random, and the oracle, which sends an image
        on only where that makes the answer right."""
        if len(point.models) == 1:
            return []
        rows = [self.reported.index(model) for model in point.models]
        knowing = Cascade.of(point.models, "oracle")
        oracle = self.row("oracle", knowing, found=_oracle(self.reported, rows))
        return [self._random(answer, point, rows), replace(oracle, postcheck=None)]

    def _random(self, answer: SearchRow, point: Cascade, rows: Sequence[int]) -> SearchRow:
        """As the answer, but which images go on is drawn: the mean over all draws."""
        stage = decide(self.reported, point).stage
        shares = np.bincount(stage, minlength=len(rows)) / len(stage)
        expected, price = shares @ self.reported.correct[rows], answer.price
        (right, credit), loss = right_and_credit(self._other), self.reported.loss
        lost, more = None, None
        if loss is not None:
            each = -(shares @ self.reported.credit[rows]) / loss.scale
            lost, more = mean_of(each), mean_of(each + credit / loss.scale)
        if self.pricer.prices.by_request:
            ran = shares[::-1].cumsum()[::-1, None]
            price = self.pricer.against(self.pricer.summed(point.models, ran), self.baseline)
        return replace(
            answer,
            kind="random",
            price=price,
            tail=replace(answer.tail, over_budget=None),
            score=None,
            postcheck=None,
            threshold=Limit("random"),
            threshold_2=None,
            threshold_2_low=None,
            threshold_2_high=None,
            mode_2=None,
            accuracy=mean_of(expected),
            against=replace(answer.against, accuracy_change=mean_of(expected - right)),
            fit_accuracy=None,
            fit_cost=None,
            fit_loss=None,
            answered_accuracy=None,
            expected_accuracy=None,
            loss=lost,
            loss_change=more,
        )


def _oracle(scores: ScoreSet, rows: Sequence[int]) -> Outcome:
    """The first model whose answer is worth most, without a loss the first that is right: the first
    of all where none is."""
    credit = scores.credit[rows]
    first = credit.argmax(axis=0).astype(np.int8)
    sure, told = scores.correct[rows].astype(np.float64), scores.predictions[rows]
    right, earned = (np.choose(first, each) for each in (scores.correct[rows], credit))
    lost = None if scores.loss is None else earned
    return Outcome(first, first, np.choose(first, told), sure, right, earned=lost)
