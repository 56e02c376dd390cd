"""Which cascade should be deployed? Every pair, rule and λ, exactly, and an answer to a question.

Searched on the fitting images, told about the reported ones. From the cache alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from cache import InputError, Store
from stages.cascade import Cascade, Outcome, decide
from stages.costs import ExpectedCosts, Pricer, asked, costs_of
from stages.results import Row, save
from stages.scores import ScoreSet
from stages.search.best_pairs import BestOfEach, chosen_again, ranked
from stages.search.caps import caps_of
from stages.search.crossfit import Chosen, CrossFitted, Progress, cross_fitted, decided_by_folds
from stages.search.evaluation import AnswerRow, FitFigures, Judge, KeptRow, SearchRow
from stages.search.fitted_frontier import Found, Space, find
from stages.search.frontier import Points
from stages.search.guarantee import CertificateFacts, Certified, Promise, guarantee
from stages.search.holdout import Test
from stages.search.pairs import deployable
from stages.search.promised import kept, refused
from stages.search.question import ACCURACY, CERTIFY, COST, Goal, Question
from stages.search.ranking import single
from stages.search.resampling import Resampling
from stages.search.unreachable import unreachable
from stages.search.verdict import (
    CANNOT_TELL,
    MEETS,
    MISSES,
    GoalFacts,
    Reached,
    Verdict,
    reached_by,
    target_of,
)
from stages.search.wording import asked_for, sentences
from stages.simulate import Honest
from stages.statistics import Interval, procedure
from stages.threshold import FitPlan, held_out

# A cascade, its cost and right answers (or credit) on the fitting images, and what folds say of it.
Listed = tuple[Cascade, float, int, Honest | None]


@dataclass(frozen=True)
class Answer:
    """What is deployed, what it did on the fitting images, and whether it does what was asked,
    which `reached` says of the baseline. `selected`: the reported images had a part in the choice.
    The rest as in `Verdict`."""

    point: Cascade
    fitted: FitFigures
    target: str | None
    baseline: str
    matched: str | None = None
    reached: bool = True
    selected: bool = False
    needed: int | None = None
    chose: bool = False
    near: str | None = None
    asked: bool = False


@dataclass(frozen=True)
class Mixture:
    """Two cascades of the hull, and the `share` of requests that the second gets at random."""

    first: str
    second: str
    share: float
    accuracy: float
    cost: float
    fit_accuracy: float
    fit_cost: float


@dataclass(frozen=True)
class Optimism(Row):
    """What choosing by this search yields on images left out of resamples; under a loss that, and
    by how much less is lost on those that chose."""

    resamples: int
    split: str
    baseline: str
    accuracy: Interval | None
    usage: Interval
    accuracy_change: Interval | None
    optimism: float
    same_models: float
    loss: Interval | None = None
    loss_change: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What `cascade search --json` prints; of a certificate that cannot be given there is no
    `answer`."""

    dataset: str
    split: str
    n: int
    fit_split: str
    fit_method: str
    fit_n: int
    notes: Sequence[str]
    models: Sequence[str]
    question: str
    asked: str
    cost: dict[str, object]
    target: str
    worth: str
    answer: AnswerRow | None
    goals: Sequence[GoalFacts]
    sentence: str
    sentences: Sequence[str]
    baselines: Sequence[SearchRow]
    frontier: Sequence[SearchRow]
    hull: Sequence[SearchRow]
    top: Sequence[SearchRow] | None
    most_accurate: SearchRow
    mixture: Mixture | None
    certificate: CertificateFacts | None
    optimism: Optimism | None
    chains: Sequence[SearchRow] | None

    @property
    def rows(self) -> list[AnswerRow]:
        """The answer's, the best pairs', the frontier's and the baselines'."""
        answer = [] if self.answer is None else [self.answer]
        listed = (*answer, *(self.top or ()), *self.frontier, *self.baselines)
        return [AnswerRow(**vars(row)) for row in listed]


@dataclass(frozen=True)
class Search:
    """A question to a space of cascades, over one set of models: those of `reported`."""

    reported: ScoreSet
    plan: FitPlan
    pricer: Pricer
    space: Space
    question: Question
    calibration: ScoreSet | None = None
    threads: int | None = None
    progress: Progress = lambda done, total: None
    given: Answer | None = None

    @classmethod
    def of(
        cls, reported: ScoreSet, plan: FitPlan, pricer: Pricer, space: Space = Space(),
        question: Question = Question(), progress: Progress = lambda done, total: None,
    ) -> Search:  # fmt: skip
        """An answer that is to be tested has images held out for that where there is one split."""
        calibration = plan.scores
        if plan.method == "cross-fit" and (question.tested or question.kind == CERTIFY):
            plan, reported = held_out(plan)
            rows = np.isin(pricer.scores.sample_ids, reported.sample_ids)
            pricer = replace(pricer, scores=pricer.scores.of_images(rows))
        return cls(reported, plan, pricer, space, question, calibration, progress=progress)

    @cached_property
    def found(self) -> Found:
        """The frontier on the fitting images."""
        return self._find(self.plan.scores)

    def _find(self, scores: ScoreSet) -> Found:
        caps = caps_of(self.question, scores)
        return find(scores, self._costs(scores), self.space, self.threads, caps)

    def _costs(self, scores: ScoreSet) -> ExpectedCosts:
        return costs_of(self.pricer, scores)

    @property
    def point(self) -> Cascade:
        return self.decided.point

    @cached_property
    def decided(self) -> Answer:
        """InputError with what is reachable where nothing does what was asked."""
        found = self.given
        if found is None:
            found = self._tested() if self.question.tested else self._estimated()
        if self.pricer.baseline is None:
            return found
        return replace(found, baseline=self.pricer.baseline, asked=True)

    def _estimated(self) -> Answer:
        """The answer by its estimate on the fitting images."""
        row = self._row()
        alone, reached = single(self.question, self.found.choices(self.question))
        return Answer(
            self.found.points[row],
            self.fitted(row),
            None,
            self.reported.models[alone],
            reached=reached,
            near=self._near_accuracy(alone, reached),
        )

    def _row(self) -> int:
        row = self.found.answer(self.question)
        if row is None:
            where = (self.plan.scores, self.pricer, self.space, self.found)
            raise InputError(unreachable(self.question, *where))
        return row

    def _near_accuracy(self, alone: int, reached: bool) -> str | None:
        """The most accurate model cheaper than the baseline, where it nearly reaches the goal."""
        found, goal = self.found, self.question.value or 0.0
        cheaper = np.flatnonzero(found.prices < found.prices[alone])
        if self.question.kind != ACCURACY or self.question.several or not reached:
            return None
        if not len(cheaper):
            return None
        next_one = cheaper[found.alone[cheaper].argmax()]
        right = float(found.alone[next_one] / len(found.scores.labels))
        if goal - right > NEAR:
            return None
        name = found.scores.models[next_one]
        return f"{name} alone is right on {right:.1%} of {self.plan.split} only."

    def _tested(self) -> Answer:
        """What `Test.answer` picked; where nothing passes, the answer by its estimate."""
        test = self.test
        point, (alone, reached) = test.answer(), test.single
        baseline, near = self.reported.models[alone], test.near(alone, NEAR)
        matched = None if test.matched is None else self.reported.models[test.matched]
        same, needed, selected = self.plan.method == "same-split", None, point is not None
        if point is not None:
            word, fitted = CANNOT_TELL if same else MEETS, self.did(point)
        else:
            row = self._row()
            point, fitted = self.found.points[row], self.fitted(row)
            word, needed = (MEETS, None) if point.models == (matched,) else test.short(point)
        return Answer(point, fitted, word, baseline, matched, reached, selected, needed, same, near)

    @cached_property
    def test(self) -> Test:
        scores = self.plan.scores
        chains = tuple(point for point in self.found.points if len(point.models) == 3)
        matched = self.found.choices(self.question).matched
        how = (self.space.table, self.question, matched, chains, self.threads)
        return Test(scores, self.reported, self.pricer, self._costs(scores), *how)

    # --- rows ------------------------------------------------------------------------------------

    @cached_property
    def judge(self) -> Judge:
        decided = self.decided
        return Judge(self.reported, self.plan, self.pricer, decided.baseline, decided.matched)

    @cached_property
    def frontier(self) -> list[SearchRow]:
        """A row for each point of the frontier, by ascending cost on the fitting images."""
        return [self.frontier_row(i) for i in range(len(self.found.points))]

    def frontier_row(self, i: int) -> SearchRow:
        kind, point = "hull" if i in self.found.hull else "point", self.found.points[i]
        crossfitted = self.crossfitted if len(point.models) > 1 else None
        honest = None if crossfitted is None else crossfitted.frontier[i]
        return self.judge.row(kind, point, self.fitted(i), honest=honest)

    def fitted(self, row: int) -> FitFigures:
        right, cost = (float(each[row]) for each in (self.found.right, self.found.cost))
        if self.plan.scores.loss is None:
            return FitFigures(right / len(self.plan.scores.labels), cost)
        return self._under_loss(self.found.points[row], cost)

    def did(self, point: Cascade) -> FitFigures:
        """On the fitting images."""
        found, scores = decide(self.plan.scores, point), self.plan.scores
        cost = self.pricer.on(scores).bill(point.models, found.stage).total.value
        return FitFigures(found.accuracy, cost, scores.mean_loss(found.credit))

    def _under_loss(self, point: Cascade, cost: float) -> FitFigures:
        """Accuracy is not what a frontier of losses knows."""
        found, scores = decide(self.plan.scores, point), self.plan.scores
        return FitFigures(found.accuracy, cost, scores.mean_loss(found.credit))

    @cached_property
    def crossfitted(self) -> CrossFitted | None:
        """What folds decided by searches of the others say; None unless cross-fitted."""
        if self.plan.method != "cross-fit":
            return None
        # Costs of each request are rounded to what so many images allow: of fewer, otherwise.
        how = (self.found.cost * (1 + 1e-9), self.pricer.compared_with, self.progress)
        return cross_fitted(self.reported, self._find, self.question, *how)

    def top(self, most: int) -> list[SearchRow]:
        """At most so many answers by their estimates on the fitting images, the best first, of
        other models each."""
        points = self._best_of(self.plan.scores).answers()
        # A pair whose B never runs is its A alone.
        points = points.take(np.flatnonzero((points.second < 0) | (points.k > 0)))
        points = ranked(points, self.question)
        points = points.take(np.arange(min(most, len(points))))
        cascades = deployable(self.plan.scores, points, self.space.table)
        honest: Sequence[Honest | None] = [None] * len(cascades)
        if self.plan.method == "cross-fit" and cascades:
            again, other = partial(self._again, points), self.pricer.compared_with
            honest = decided_by_folds(self.reported, again, other)
        each = zip(cascades, points.cost.tolist(), points.right.tolist(), honest, strict=True)
        found = sorted([*each, *self._chains()], key=self._rank)[:most]
        return [self._listed(*row) for row in found]

    def _chains(self) -> Iterator[Listed]:
        """The best of each three on the frontier that do what is asked."""
        enough = self.found.choices(self.question).enough(self.question.compared)
        best: dict[tuple[str, ...], Listed] = {}
        for i in np.flatnonzero(enough & self.found.kept.any()).tolist():
            point = self.found.points[i]
            if len(point.models) == 3:
                folds = self.crossfitted.frontier[i] if self.crossfitted else None
                row = (point, float(self.found.cost[i]), int(self.found.right[i]), folds)
                best[point.models] = min(row, best.get(point.models, row), key=self._rank)
        yield from best.values()

    def _rank(self, row: Listed) -> tuple[float, float]:
        _, cost, right, _ = row
        return (cost, -right) if self.question.cheapest else (-right, cost)

    def _listed(self, point: Cascade, cost: float, right: int, told: Honest | None) -> SearchRow:
        fitted = FitFigures(right / len(self.plan.scores.labels), cost)
        if self.plan.scores.loss is not None:
            fitted = self._under_loss(point, cost)
        honest = None if len(point.models) == 1 else told
        return self.judge.row("top", point, fitted, honest=honest)

    def _best_of(self, scores: ScoreSet) -> BestOfEach:
        caps = caps_of(self.question, scores)
        return BestOfEach(scores, self._costs(scores), self.space.table, self.question, caps)

    def _again(self, points: Points, scores: ScoreSet) -> Chosen:
        """The same models on some of the images; where they cannot, the better of them alone."""
        name = self.judge.baseline
        baseline = scores.index(name) if name in scores.models else 0  # another is given
        return chosen_again(self._best_of(scores), points), baseline

    def answer(self) -> tuple[AnswerRow, Verdict]:
        """The row of what is deployed, and what it is worth."""
        decided = self.decided
        alone = len(decided.point.models) == 1
        # A model alone has no λ that was fitted.
        honest = self.crossfitted.answer if self.crossfitted and not alone else None
        found = self.judge.row("answer", decided.point, decided.fitted, honest=honest)
        row = AnswerRow(**vars(found), selected=decided.selected)
        goals = self._reached(row)
        target, chose = decided.target, decided.chose
        target = target or target_of(self.question, row, alone, goals)
        if self.plan.method == "same-split" and target == MEETS and not alone:
            target, chose = CANNOT_TELL, True
        names = ("reached", "needed", "near", "asked")
        how = {name: getattr(decided, name) for name in names} | {"chose": chose}
        rival = self._rival(row)
        told = (self.question, decided.point, row, target)
        return row, Verdict(*told, rival=rival, goals=goals, **how)

    def _reached(self, row: AnswerRow) -> list[Reached]:
        """What the answer did of each limit; where it was tested, by the test."""
        if self.given is not None:
            return []
        point, found = self.decided.point, decide(self.reported, self.decided.point)
        reached = reached_by(self.question, row, self.reported, found)
        if not self.question.tested:
            return reached
        return [replace(each, target=self._word(each.goal, point, found)) for each in reached]

    def _word(self, goal: Goal, point: Cascade, found: Outcome) -> str:
        """By the test."""
        if self.test.keeps(goal, point, found):
            return MEETS
        return MISSES if self.test.misses(goal, point, found) else CANNOT_TELL

    def _rival(self, row: SearchRow) -> str | None:
        """The best single model that costs no more and was no worse, if any."""
        scores, names = self.reported, self.reported.models_that_run
        least, alone = row.accuracy.value, dict(zip(names, scores.accuracy.tolist(), strict=False))
        if row.loss is not None:
            least = -row.loss.value
            lost = (scores.mean_loss(credit) or 0.0 for credit in scores.credit)
            alone = {name: -each for name, each in zip(names, lost, strict=False)}
        costs = {name: self.pricer.model(name).value for name in names}
        most = row.price.known.value
        found = [name for name in names if costs[name] <= most and alone[name] >= least]
        return max(found, key=lambda name: (alone[name], -costs[name]), default=None)

    def mixture(self) -> Mixture | None:
        """Two corners of the hull, and the share of requests that the second should get at random
        to meet the accuracy asked for at less cost, or to spend all of `max-cost` on more accuracy;
        None where the answer cannot be bettered so."""
        if self.question.several or self.plan.scores.loss is not None:
            return None
        corners = self.found.hull
        values, goal = self.found.cost[corners], self.question.value or 0.0
        if self.question.kind != COST:
            values = self.found.right[corners] / len(self.plan.scores.labels)
        if self.question.kind not in (COST, ACCURACY):
            goal = self.decided.fitted.accuracy
        j = int(np.searchsorted(values, goal))
        if j == 0 or j == len(corners) or values[j] == goal:
            return None
        share = float((goal - values[j - 1]) / (values[j] - values[j - 1]))
        first, second = (str(self.found.points[i]) for i in corners[j - 1 : j + 1])
        low, high = (_figures(self.frontier[i]) for i in corners[j - 1 : j + 1])
        return Mixture(first, second, share, *((1 - share) * low + share * high).tolist())

    def optimism(self, resamples: int, baseline: str) -> Optimism:
        """What choosing by this search yields on images that had no part in the choice."""
        scores = self.plan.scores
        again = Resampling(scores, self._costs(scores), self.space.table, self.question)
        credit, scale = scores.credit, 1 if scores.loss is None else scores.loss.scale
        if baseline not in scores.models:
            baseline = scores.models[int(credit.sum(axis=1, dtype=np.int64).argmax())]
        other = credit[scores.index(baseline)]
        found = procedure(again.choose, other, resamples, scale=scale)
        same = [again.models(number) == self.point.models for number in found.chosen.tolist()]
        told: dict[str, Interval | None] = {
            "accuracy": found.accuracy,
            "accuracy_change": found.accuracy_change,
        }
        if scores.loss is not None:
            told = {
                **dict.fromkeys(told),
                "loss": replace(found.accuracy.negative, low=max(0.0, -found.accuracy.high)),
                "loss_change": found.accuracy_change.negative,
            }
        return Optimism(
            resamples=resamples,
            split=scores.split,
            baseline=baseline,
            usage=found.usage,
            optimism=found.optimism,
            same_models=float(np.mean(same)),
            **told,
        )


def _figures(row: SearchRow) -> np.ndarray:
    """What a mixture is told of: float64 [4]."""
    fitted = (row.fit_accuracy, row.fit_cost)
    return np.array([row.accuracy.value, row.price.known.value, *fitted], np.float64)


# By how little a cheaper model must miss for that to be said.
NEAR = 0.01


def run(
    store: Store,
    search: Search,
    optimism: int | None = None,
    promise: Promise | None = None,
    top: int = 0,
) -> SearchResult:
    """The answer with everything around it; its rows are also written to results/search.
    `optimism` is a number of resamples, `top` how many answers of another pair each are listed."""
    certified = None if promise is None else _certified(store, search, promise)
    if certified is not None:
        search = replace(search, given=_promised(search, certified))
    baselines = [search.judge.single(model) for model in search.reported.models_that_run]
    answer, judged = None, None
    if certified is not None and certified.point is None:
        told = [refused(certified, search.calibration or search.plan.scores)]
    else:
        answer, judged = search.answer()
        told = sentences(judged)
        if certified is not None:
            told.insert(1, kept(certified, answer))
        baselines += search.judge.baselines(answer, search.point)
    frontier = search.frontier
    found = SearchResult(
        dataset=search.reported.dataset,
        split=search.reported.split,
        n=len(search.reported.labels),
        fit_split=search.plan.split,
        fit_method=search.plan.method,
        fit_n=len(search.plan.scores.labels),
        notes=search.plan.notes,
        models=search.reported.models,
        question=str(search.question),
        asked=_asked(search, promise),
        cost=_cost(search.pricer),
        target=CANNOT_TELL if judged is None else judged.target,
        worth=CANNOT_TELL if judged is None else judged.worth,
        answer=answer,
        goals=[] if judged is None else [GoalFacts.of(each) for each in judged.goals],
        sentence=" ".join(told),
        sentences=told,
        baselines=baselines,
        frontier=frontier,
        hull=[row for row in frontier if row.kind == "hull"],
        top=search.top(top) if top else None,
        most_accurate=frontier[-1],
        mixture=None if certified else search.mixture(),
        certificate=None if certified is None else certified.facts,
        optimism=search.optimism(optimism, str(answer.against.baseline))
        if answer and optimism
        else None,
        chains=[row for row in frontier if row.model_3] if search.space.stages == 3 else None,
    )
    rows = [KeptRow(**vars(row), question=found.question) for row in found.rows]
    save(store, "search", search.reported, _request(search, promise), rows)
    return found


def _asked(search: Search, promise: Promise | None) -> str:
    """In words."""
    if promise is not None:
        return "the cheapest that is certified"
    matched = search.decided.matched
    return asked_for(search.question, matched, search.pricer.prices.unit, search.reported)


def _cost(pricer: Pricer) -> dict[str, object]:
    """What costs are and why these."""
    told = pricer.about().columns()
    return {name.removeprefix("cost_"): value for name, value in told.items()}


def _request(search: Search, promise: Promise | None) -> dict[str, object]:
    """What tells this search from others."""
    told: dict[str, object] = {
        "question": str(search.question),
        "space": {"table": search.space.table, "stages": search.space.stages},
        "fit": [search.plan.method, search.plan.split],
        "cost": asked(search.pricer),
        "promise": promise and replace(promise, limits=replace(promise.limits, loss=None)),
    }
    if search.reported.loss is not None:
        told["loss"] = search.reported.loss.about
    if search.reported.nobody is not None:
        told["nobody"] = search.reported.nobody
    return told


def _certified(store: Store, search: Search, promise: Promise) -> Certified:
    scores, cap = search.calibration or search.plan.scores, promise.limits.cost
    if cap is not None and cap < search.found.cost[0]:
        where = (search.plan.scores, search.pricer, search.space, search.found)
        raise InputError(unreachable(Question(COST, cap), *where))
    if cap is not None and search.pricer.prices.by_request:
        raise InputError(
            "--certify caps a cost by how often B runs, which what each request costs does not "
            "tell: leave out --max-cost, give --max-usage, or name a --cost-device"
        )
    costs = costs_of(search.pricer, scores)
    return guarantee(store, scores, costs, search.space, promise)


def _promised(search: Search, certified: Certified) -> Answer:
    """What is certified, held against the reference; where nothing is, the reference itself."""
    point, reference, cost = certified.point, certified.facts.reference, certified.facts.cost
    if point is None or cost is None:
        point = Cascade.of((reference,))
        return Answer(point, search.did(point), CANNOT_TELL, reference)
    fitted = FitFigures(decide(search.plan.scores, point).accuracy, cost)
    selected = search.plan.method == "hold-out"
    return Answer(point, fitted, MEETS, reference, selected=selected)
