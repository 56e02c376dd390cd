"""scores → λ: the operating points of every pair, fitted exactly and reported on other images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cache import Store
from stages.cascade import (
    AT,
    Cascade,
    Fit,
    Limit,
    Ordering,
    allowed,
    fit,
    gains,
    pair_gains,
    prefix,
    trusted,
)
from stages.costs import UNPRICED, HeldAgainst, PairPrice, Pricer, asked, held_against
from stages.results import Row, save
from stages.scores import (
    LABEL_FREE,
    Loss,
    Score,
    ScoreSet,
    is_nobody,
    named,
    right_and_credit,
)
from stages.simulate import FitFacts, FittedLimit
from stages.statistics import Interval, Paired, change, loss_sums, repeated_losses, share
from stages.threshold.crossfit import Answers, FoldCounts, Folds
from stages.threshold.fit_images import FitPlan

Pair = tuple[int, int]


@dataclass(frozen=True)
class ThresholdQuestion:
    """What to sweep. `grid` n restricts λ to n equidistant values of the score's extent; None
    is exact."""

    scores: tuple[str, ...] = LABEL_FREE
    postchecks: tuple[bool, ...] = (False, True)
    objectives: tuple[str, ...] = ("best", "1se")
    grid: int | None = None


@dataclass(frozen=True, kw_only=True)
class OperatingPoint(Row):
    """A cascade of two at a fitted λ.

    `fit_accuracy` and `fit_usage` are those of this λ on the fitting images, `usage` that on the
    reported ones. `accuracy`, and its change `against` the model that one would deploy instead, the
    more accurate of the two where λ was fitted, are those of this λ on the reported images; where
    it was cross-fitted, of folds decided with the λ of the others. `points`: of the sweep.
    Under a loss λ is fitted to that, the mean loss of an image, and the other model is the one that
    loses less where λ was fitted; `loss_change` below 0 is less lost.
    """

    model_1: str
    model_2: str
    score: str
    postcheck: bool
    threshold: Limit
    accuracy: Interval
    usage: Interval
    against: HeldAgainst
    accuracy_1: float
    accuracy_2: float
    points: int
    n: int
    split: str
    fit: FitFacts
    price: PairPrice = UNPRICED
    loss: Interval | None = None
    loss_change: Interval | None = None
    loss_1: float | None = None
    loss_2: float | None = None
    fit_loss: float | None = None

    @property
    def cascade(self) -> Cascade:
        models = (self.model_1, self.model_2)
        return Cascade.of(models, self.score, self.threshold, postcheck=self.postcheck)

    @property
    def rank(self) -> tuple[float, float]:
        """The best where it was fitted, by loss or else accuracy, then the least use of B."""
        accuracy, usage = self.fit.fit_accuracy or 0.0, self.fit.fit_usage or 0.0
        return (-accuracy if self.fit_loss is None else self.fit_loss), usage

    def told(self, decided: FoldCounts | None, loss: Loss | None = None) -> OperatingPoint:
        """With what folds decided by the others say, instead of the images that chose."""
        if decided is None:
            return self
        against = replace(self.against, accuracy_change=decided.change)
        row = replace(self, accuracy=decided.accuracy, against=against)
        if loss is None:
            return row
        mean, change = decided.losses_of(loss)
        return replace(row, loss=mean, loss_change=change)

    def priced(self, pricer: Pricer, reported: ScoreSet) -> OperatingPoint:
        """With its cost on the pricer's images, which are those reported."""
        baseline = pricer.baseline or str(self.against.baseline)
        values = reported.score(self.score, reported.index(self.model_1))
        stage = (~trusted(named(self.score), values, self.threshold)).astype(np.int8)
        price = pricer.compared((self.model_1, self.model_2), stage, baseline)
        against = held_against(pricer.scores, baseline, self.against.accuracy_change)
        return replace(self, against=against, price=price)


def run(
    store: Store,
    reported: ScoreSet,
    plan: FitPlan,
    pairs: Sequence[tuple[str, str]] | None = None,
    question: ThresholdQuestion = ThresholdQuestion(),
    pricer: Pricer | None = None,
) -> list[OperatingPoint]:
    """The rows of `operating_points` with their costs, also written to results/threshold. `pairs`
    are names of models, None all there are; InputError for a name that is not here."""
    places = all_pairs(reported.models)
    if pairs is not None:
        places = [(reported.index(a), reported.index(b)) for a, b in pairs]
    baseline = None if pricer is None else pricer.compared_with
    found = operating_points(reported, plan, places, question, baseline)
    rows = [row.priced(pricer, reported) if pricer else row for row in found]
    request = {
        "pairs": [[reported.models[m] for m in place] for place in places],
        "fit": [plan.method, plan.split],
        "question": question,
        "cost": asked(pricer),
    }
    if reported.loss is not None:
        request["loss"] = reported.loss.about
    save(store, "threshold", reported, request, rows)
    return rows


def all_pairs(models: Sequence[str]) -> list[Pair]:
    """Every ordered pair of different models, as indices; what is no model is never first."""
    count = range(len(models))
    return [(a, b) for a in count for b in count if a != b and not is_nobody(models[a])]


def fitted_point(
    reported: ScoreSet,
    plan: FitPlan,
    pair: tuple[str, str],
    score: str = "maxp",
    postcheck: bool = False,
    objective: str = "best",
    baseline: np.ndarray | None = None,
) -> tuple[Limit, FittedLimit]:
    """One pair's fitted λ, and how it came about."""
    question = ThresholdQuestion((score,), (postcheck,), (objective,))
    indices = (reported.index(pair[0]), reported.index(pair[1]))
    row = next(operating_points(reported, plan, [indices], question, baseline))
    return row.threshold, FittedLimit.told(row.fit, row.accuracy, row.against)


def operating_points(
    reported: ScoreSet,
    plan: FitPlan,
    pairs: Sequence[Pair],
    question: ThresholdQuestion,
    baseline: np.ndarray | None = None,
) -> Iterator[OperatingPoint]:
    """One per pair, score, post-check and objective. `baseline`, as `ScoreSet.baseline` gives it,
    is another model to compare with."""
    for row, _ in cross_fitted_points(reported, plan, pairs, question, baseline):
        yield row


def cross_fitted_points(
    reported: ScoreSet,
    plan: FitPlan,
    pairs: Sequence[Pair],
    question: ThresholdQuestion,
    baseline: np.ndarray | None = None,
) -> Iterator[tuple[OperatingPoint, FoldCounts | None]]:
    """The same, by first model, score and second model, each with what its folds decided, None
    unless cross-fitted."""
    seconds: dict[int, list[int]] = {}
    for a, b in pairs:
        seconds.setdefault(a, []).append(b)
    for a, partners in seconds.items():
        for name in question.scores:
            first = _First.of(named(name), a, reported, plan, question.grid)
            checks = allowed(first.score, question.postchecks) if name != "oracle" else (False,)
            for b in partners:
                for postcheck in checks:
                    yield from first.rows(b, postcheck, question, baseline)


@dataclass(frozen=True)
class _Gains:
    """int [N] each, of `sweep.gains`: what λ is fitted to, and right answers, the same without a
    loss."""

    credit: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class _First:
    """Everything about a first model and score that its partners share."""

    score: Score
    a: int
    reported: ScoreSet
    plan: FitPlan
    fitting: Ordering
    reporting: Ordering
    held_out: Folds | None
    grid: np.ndarray | None

    @classmethod
    def of(
        cls,
        score: Score,
        a: int,
        reported: ScoreSet,
        plan: FitPlan,
        grid: int | None,
    ) -> _First:
        ends = score.extent(plan.scores.score(score.name, a))
        # From never towards always, as the original: of λ that decide alike the first is told.
        values = None if grid is None else np.linspace(*ends, grid)[:: score.sign]
        exact = Ordering.by(plan.scores, score.name, a)
        same = plan.scores is reported
        reporting = exact if same else Ordering.by(reported, score.name, a)
        crossfit = plan.method == "cross-fit" and not score.needs_label
        held_out = Folds.of(exact, values) if crossfit else None
        fitting = _on_grid(exact, values)
        return cls(score, a, reported, plan, fitting, reporting, held_out, values)

    def rows(
        self, b: int, postcheck: bool, question: ThresholdQuestion, baseline: np.ndarray | None
    ) -> Iterator[tuple[OperatingPoint, FoldCounts | None]]:
        fitting, reported = self.plan.scores, self.reported
        gain = self._gains(fitting, b, postcheck)
        reported_gain = gain if fitting is reported else self._gains(reported, b, postcheck)
        against, alone = self._alone(b) if baseline is None else (None, baseline)
        if self.score.needs_label:
            k = int((~reported.correct[self.a]).sum())
            fitted = self._fit("best")
            oracle = self._row(b, False, Limit.of(None), reported_gain, k, against, alone, fitted)
            yield replace(oracle, points=1), None
            return
        decided = {} if self.held_out is None else self._decided(b, gain, question, baseline)
        for objective, point in fit(self.fitting, gain.credit, question.objectives).items():
            limit = self._limit(point)
            k = self.reporting.escalated(limit)
            fitted = self._fit(objective, point, gain)
            row = self._row(b, postcheck, limit, reported_gain, k, against, alone, fitted)
            row = replace(row, fit_loss=self._fit_loss(point))
            yield row.told(decided.get(objective), reported.loss), decided.get(objective)

    def _alone(self, b: int) -> tuple[str, np.ndarray]:
        """The better of the two on the fitting images, A of equals."""
        found = self.plan.scores.credit
        chosen = max(self.a, b, key=lambda m: (int(found[m].sum()), m == self.a))
        return self.reported.models[chosen], self.reported.baseline(chosen)

    def _gains(self, scores: ScoreSet, b: int, postcheck: bool) -> _Gains:
        def of(values: np.ndarray) -> np.ndarray:
            s_a, s_b = (scores.score(self.score.name, m) for m in (self.a, b))
            return gains(self.score, values[self.a], values[b], s_a, s_b, postcheck)

        right = of(scores.correct)
        return _Gains(right if scores.loss is None else of(scores.credit), right)

    def _decided(
        self, b: int, gain: _Gains, question: ThresholdQuestion, baseline: np.ndarray | None
    ) -> dict[str, FoldCounts]:
        """What each fold decides by the λ of the others, by objective."""
        if self.held_out is None:
            return {}
        given = [self.reported.baseline(m) for m in (self.a, b)] if baseline is None else [baseline]
        right, credit = map(np.stack, zip(*map(right_and_credit, given), strict=True))
        told = Answers(gain.right, self.reported.correct[self.a], right)
        how = question.objectives
        if self.reported.loss is None:
            return self.held_out.decide(told.gain, told.right, told.baselines, how)
        own = self.reported.credit[self.a].astype(np.int64)
        return self.held_out.decide(gain.credit, own, credit, how, told)

    def _limit(self, point: Fit) -> Limit:
        limit = self.fitting.limit(point.k)
        if self.grid is None:
            return limit
        first = (self.fitting.escalated_by(self.score.sign * self.grid) == point.k).argmax()
        return replace(limit, kind=AT, value=float(self.grid[first]))

    def _row(
        self,
        b: int,
        postcheck: bool,
        limit: Limit,
        gain: _Gains,
        k: int,
        baseline: str | None,
        alone: np.ndarray,
        fitted: FitFacts,
    ) -> OperatingPoint:
        """B runs on the k least sure of the reported images."""
        accuracy, n = self.reported.accuracy, len(self.reported.labels)
        alone, credit = right_and_credit(alone)
        found = self._change(gain.right, k, alone)
        right = int(alone.sum()) + round(found.value * n)
        row = OperatingPoint(
            model_1=self.reported.models[self.a],
            model_2=self.reported.models[b],
            score=self.score.name,
            postcheck=postcheck,
            threshold=limit,
            accuracy=share(right, n),
            usage=share(k, n),
            against=HeldAgainst(baseline, float(alone.mean()), change(found)),
            accuracy_1=float(accuracy[self.a]),
            accuracy_2=float(accuracy[b]),
            points=len(self.fitting.ends),
            n=n,
            split=self.reported.split,
            fit=fitted,
        )
        return self._with_loss(row, b, gain.credit, k, credit)

    def _with_loss(
        self, row: OperatingPoint, b: int, gain: np.ndarray, k: int, alone: np.ndarray
    ) -> OperatingPoint:
        """With the columns of a loss, where there is one, against the credit of a model alone."""
        loss, n = self.reported.loss, row.n
        if loss is None:
            return row
        credit, sent = self.reported.credit.astype(np.int64), self.reporting.order[:k]
        earned = credit[self.a].copy()
        earned[sent] += gain[sent]
        sums = loss_sums(earned, alone)[None]
        mean, changed = repeated_losses(sums, n, loss.most, loss.scale)
        one, two = (-credit[[self.a, b]].sum(axis=1) / (n * loss.scale)).tolist()
        return replace(row, loss=mean, loss_change=changed, loss_1=one, loss_2=two)

    def _fit_loss(self, point: Fit) -> float | None:
        fitting, loss = self.plan.scores, self.plan.scores.loss
        if loss is None:
            return None
        return -(int(fitting.credit[self.a].sum()) + point.gain) / (
            len(fitting.labels) * loss.scale
        )

    def _fit(
        self, objective: str, point: Fit | None = None, gain: _Gains | None = None
    ) -> FitFacts:
        fitting = self.plan.scores
        n, right = len(fitting.labels), int(fitting.correct[self.a].sum())
        if point is not None and gain is not None:
            right += int(gain.right[self.fitting.order[: point.k]].sum())
        return FitFacts(
            fit_split=self.plan.split,
            fit_method=self.plan.method,
            fit_n=n,
            objective=objective,
            fit_accuracy=None if point is None else right / n,
            fit_usage=None if point is None else point.k / n,
        )

    def _change(self, gain: np.ndarray, k: int, alone: np.ndarray) -> Paired:
        """Against a model alone, bool [N]."""
        trusted = self.reported.correct[self.a].view(np.int8) - alone.view(np.int8)
        sent = self.reporting.order[:k]
        before, gained = trusted[sent], gain[sent]
        difference = int(trusted.sum()) + int(gained.sum())
        differing = int(np.count_nonzero(trusted) + np.count_nonzero(before + gained))
        differing -= int(np.count_nonzero(before))
        won = (differing + difference) // 2
        return Paired(won, won - difference, len(alone))


def _on_grid(ordering: Ordering, grid: np.ndarray | None) -> Ordering:
    """The same images, reachable only at the grid's values of λ."""
    if grid is None:
        return ordering
    return replace(ordering, ends=np.unique(ordering.escalated_by(ordering.score.sign * grid)))


def curve(reported: ScoreSet, pair: Pair, name: str) -> dict[str, np.ndarray]:
    """The whole sweep of one pair, for a plot: float64 [P] each.

    `threshold` is the λ of each step farthest on the side of surer scores, which the step includes
    (NaN where B always runs), `usage` B's share, and `accuracy` and `accuracy_postcheck` the
    cascade's, the latter where the scores of two models compare.
    """
    a, b = pair
    ordering = Ordering.by(reported, name, a)
    n = len(reported.labels)
    ends = ordering.ends
    edges = np.append(ordering.values, np.nan)[ends]
    out = {"threshold": edges, "usage": ends / n}
    columns = {"accuracy": False, "accuracy_postcheck": True}
    for column, postcheck in columns.items():
        if postcheck and not ordering.score.comparable:
            continue
        total = prefix(ordering, pair_gains(reported, name, a, b, postcheck))
        out[column] = (reported.correct[a].sum() + total[ends]) / n
    return out
