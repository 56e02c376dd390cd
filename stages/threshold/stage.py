"""scores → λ: the operating points of every pair, fitted exactly and reported on other images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cache import Store
from stages.cascade import AT, Cascade, Fit, Limit, Ordering, fit, pair_gains, prefix, trusted
from stages.costs import UNPRICED, HeldAgainst, PairPrice, Pricer, asked, held_against
from stages.results import Row, save
from stages.scores import LABEL_FREE, Score, ScoreSet, named
from stages.simulate import FitFacts, FittedLimit
from stages.statistics import Interval, Paired, change, share
from stages.threshold.crossfit import FoldCounts, Folds
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

    @property
    def cascade(self) -> Cascade:
        models = (self.model_1, self.model_2)
        return Cascade.of(models, self.score, self.threshold, postcheck=self.postcheck)

    @property
    def rank(self) -> tuple[float, float]:
        """The most accurate where it was fitted, then the least use of B."""
        return -(self.fit.fit_accuracy or 0.0), self.fit.fit_usage or 0.0

    def told(self, decided: FoldCounts | None) -> OperatingPoint:
        """With what folds decided by the others say, instead of the images that chose."""
        if decided is None:
            return self
        against = replace(self.against, accuracy_change=decided.change)
        return replace(self, accuracy=decided.accuracy, against=against)

    def priced(self, pricer: Pricer) -> OperatingPoint:
        """With its cost on the pricer's images."""
        scores, baseline = pricer.scores, pricer.baseline or str(self.against.baseline)
        values = scores.score(self.score, scores.index(self.model_1))
        stage = (~trusted(named(self.score), values, self.threshold)).astype(np.int8)
        price = pricer.compared((self.model_1, self.model_2), stage, baseline)
        against = held_against(scores, baseline, self.against.accuracy_change)
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
    rows = [row.priced(pricer) if pricer else row for row in found]
    request = {
        "pairs": [[reported.models[m] for m in place] for place in places],
        "fit": [plan.method, plan.split],
        "question": question,
        "cost": asked(pricer),
    }
    save(store, "threshold", reported, request, rows)
    return rows


def all_pairs(models: Sequence[str]) -> list[Pair]:
    """Every ordered pair of different models, as indices."""
    count = range(len(models))
    return [(a, b) for a in count for b in count if a != b]


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
    """One per pair, score, post-check and objective. `baseline`, bool [N], is right where another
    model to compare with is."""
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
            for b in partners:
                for postcheck in question.postchecks if name != "oracle" else (False,):
                    yield from first.rows(b, postcheck, question, baseline)


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
        gain = self._gain(self.plan.scores, b, postcheck)
        same = self.plan.scores is self.reported
        reported_gain = gain if same else self._gain(self.reported, b, postcheck)
        against, alone = self._alone(b) if baseline is None else (None, baseline)
        if self.score.needs_label:
            k = int((~self.reported.correct[self.a]).sum())
            fitted = self._fit("best")
            oracle = self._row(b, False, Limit.of(None), reported_gain, k, against, alone, fitted)
            yield replace(oracle, points=1), None
            return
        pair = [self.reported.correct[m] for m in (self.a, b)]
        decided: dict[str, FoldCounts] = {}
        if self.held_out is not None:
            baselines = np.stack(pair if baseline is None else [baseline])
            decided = self.held_out.decide(gain, pair[0], baselines, question.objectives)
        for objective, point in fit(self.fitting, gain, question.objectives).items():
            limit = self._limit(point)
            k = self.reporting.escalated(limit)
            fitted = self._fit(objective, point)
            row = self._row(b, postcheck, limit, reported_gain, k, against, alone, fitted)
            yield row.told(decided.get(objective)), decided.get(objective)

    def _alone(self, b: int) -> tuple[str, np.ndarray]:
        """The more accurate of the two on the fitting images, A of equals."""
        chosen = max(self.a, b, key=lambda m: (self.plan.scores.accuracy[m], m == self.a))
        return self.reported.models[chosen], self.reported.correct[chosen]

    def _gain(self, scores: ScoreSet, b: int, postcheck: bool) -> np.ndarray:
        return pair_gains(scores, self.score.name, self.a, b, postcheck)

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
        gain: np.ndarray,
        k: int,
        baseline: str | None,
        alone: np.ndarray,
        fitted: FitFacts,
    ) -> OperatingPoint:
        """B runs on the k least sure of the reported images."""
        accuracy, n = self.reported.accuracy, len(self.reported.labels)
        found = self._change(gain, k, alone)
        right = int(alone.sum()) + round(found.value * n)
        return OperatingPoint(
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

    def _fit(self, objective: str, point: Fit | None = None) -> FitFacts:
        fitting = self.plan.scores
        n, right = len(fitting.labels), int(fitting.correct[self.a].sum())
        return FitFacts(
            fit_split=self.plan.split,
            fit_method=self.plan.method,
            fit_n=n,
            objective=objective,
            fit_accuracy=None if point is None else (right + point.gain) / n,
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
    cascade's.
    """
    a, b = pair
    ordering = Ordering.by(reported, name, a)
    n = len(reported.labels)
    ends = ordering.ends
    edges = np.append(ordering.values, np.nan)[ends]
    out = {"threshold": edges, "usage": ends / n}
    for column, postcheck in (("accuracy", False), ("accuracy_postcheck", True)):
        total = prefix(ordering, pair_gains(reported, name, a, b, postcheck))
        out[column] = (reported.correct[a].sum() + total[ends]) / n
    return out
