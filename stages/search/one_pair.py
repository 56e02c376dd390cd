"""A question put to one pair: under each rule the λ that answers, as `threshold` tells points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cache import InputError, Store
from stages.cascade import Cascade, decide
from stages.costs import Pricer, asked as told_of, costs_of
from stages.results import save
from stages.scores import ScoreSet
from stages.search.best_pairs import BestOfEach
from stages.search.caps import caps_of
from stages.search.crossfit import Chosen, decided_by_folds
from stages.search.evaluation import FitFigures, Judge, SearchRow
from stages.search.frontier import Points
from stages.search.pairs import SearchRule, deployable
from stages.search.question import Question
from stages.search.unreachable import in_one_line, nearest_of_pair
from stages.search.verdict import reached_by, worst
from stages.search.wording import asked_of
from stages.simulate import FitFacts
from stages.threshold import FitPlan, OperatingPoint


@dataclass(frozen=True, kw_only=True)
class AnswerPoint(OperatingPoint):
    """The same, with whether it does what was asked, by its intervals."""

    target: str


@dataclass(frozen=True)
class OnePair:
    """`pair` is of the models' names; `pricer` prices both."""

    reported: ScoreSet
    plan: FitPlan
    pricer: Pricer
    pair: tuple[str, str]
    question: Question

    def answers(self, table: Sequence[SearchRule]) -> list[AnswerPoint]:
        """One a rule that can, the best first by its estimate on the fitting images; InputError
        with what is reachable where none can."""
        each = ((rule, self._point(self.plan.scores, rule)) for rule in table)
        found = [(rule, point) for rule, point in each if point is not None]
        if found:
            return [self._row(rule, point) for rule, point in sorted(found, key=self._rank)]
        wanted = asked_of(self.question, self.pricer.prices.unit)
        near = nearest_of_pair(self.question, self.plan.scores, self.pricer, table, self.pair)
        what = f"no λ of {' → '.join(self.pair)} {wanted} on {self.plan.scores.split}"
        raise InputError(f"{what}; {in_one_line(near)}")

    def _rank(self, found: tuple[SearchRule, Points]) -> tuple[float, float]:
        cost, worse = float(found[1].cost[0]), -float(found[1].right[0])
        return (cost, worse) if self.question.cheapest else (worse, cost)

    def _point(self, scores: ScoreSet, rule: SearchRule) -> Points | None:
        costs, caps = costs_of(self.pricer, scores), caps_of(self.question, scores)
        of = BestOfEach(scores, costs, (rule,), self.question, caps)
        first, second = map(scores.index, self.pair)
        found = of.answers([(first, second)])
        found = found.take(np.flatnonzero(found.second >= 0))
        return found if len(found) else None

    def _cascade(self, scores: ScoreSet, rule: SearchRule, point: Points | None) -> Cascade:
        """Where nothing does, the better of the two alone."""
        if point is None:
            return Cascade.of((self._baseline(scores),))
        return deployable(scores, point, (rule,))[0]

    def _baseline(self, scores: ScoreSet) -> str:
        """The better of the two, A of equals."""
        worth = scores.credit.sum(axis=1, dtype=np.int64)
        return max(self.pair, key=lambda name: int(worth[scores.index(name)]))

    def _row(self, rule: SearchRule, point: Points) -> AnswerPoint:
        fitting, reported = self.plan.scores, self.reported
        cascade = self._cascade(fitting, rule, point)
        baseline, honest = self.pricer.baseline or self._baseline(fitting), None
        if self.plan.method == "cross-fit":

            def choose(scores: ScoreSet) -> Chosen:
                chosen = self._cascade(scores, rule, self._point(scores, rule))
                return [chosen], scores.index(self._baseline(scores))

            [honest] = decided_by_folds(reported, choose, self.pricer.compared_with)
        found = decide(fitting, cascade)
        fitted = FitFigures(found.accuracy, float(point.cost[0]), fitting.mean_loss(found.credit))
        goal = self.question.matching
        matched = None if goal is None else goal.model or self._baseline(fitting)
        judge = Judge(reported, self.plan, self.pricer, baseline, matched)
        row = judge.row("answer", cascade, fitted, honest=honest)
        words = reached_by(self.question, row, reported, decide(reported, cascade))
        target = worst([each.target for each in words])
        return self._told(row, cascade, target, found.usage())

    def _told(self, row: SearchRow, cascade: Cascade, target: str, fit_usage: float) -> AnswerPoint:
        reported = self.reported
        first, second = map(reported.index, self.pair)
        stage = decide(reported, cascade).stage
        alone = [reported.mean_loss(reported.credit[m]) for m in (first, second)]
        return AnswerPoint(
            model_1=row.model_1,
            model_2=str(row.model_2),
            score=str(row.score),
            postcheck=bool(row.postcheck),
            threshold=row.threshold,
            accuracy=row.accuracy,
            usage=row.usage,
            against=row.against,
            accuracy_1=float(reported.accuracy[first]),
            accuracy_2=float(reported.accuracy[second]),
            points=len(np.unique(self.plan.scores.score(str(row.score), first))) + 1,
            n=row.n,
            split=row.split,
            fit=FitFacts(
                fit_split=row.fit_split,
                fit_method=row.fit_method,
                fit_n=row.fit_n,
                objective=str(self.question),
                fit_accuracy=row.fit_accuracy,
                fit_usage=fit_usage,
            ),
            price=self.pricer.compared(self.pair, stage, str(row.against.baseline)),
            loss=row.loss,
            loss_change=row.loss_change,
            loss_1=alone[0],
            loss_2=alone[1],
            fit_loss=row.fit_loss,
            target=target,
        )


def answers_of(store: Store, asked: OnePair, table: Sequence[SearchRule]) -> list[AnswerPoint]:
    """What `OnePair.answers` finds, also written to results/threshold."""
    rows = asked.answers(table)
    request = {
        "pairs": [list(asked.pair)],
        "fit": [asked.plan.method, asked.plan.split],
        "question": [str(asked.question), table],
        "cost": told_of(asked.pricer),
    }
    if asked.reported.loss is not None:
        request["loss"] = asked.reported.loss.about
    save(store, "threshold", asked.reported, request, rows)
    return rows
