"""An answer that is tested, on images without a part in what names it: how `search` picks what it
answers unless it answers by estimate (`ranking`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

import numpy as np

from stages.cascade import Cascade, Outcome, decide
from stages.costs import ExpectedCosts, Pricer
from stages.scores import ScoreSet
from stages.search import testing_order
from stages.search.pairs import SearchRule
from stages.search.question import LOSS, MATCH, OF_ANSWERS, USAGE, Goal, Question
from stages.search.ranking import best_alone
from stages.search.verdict import CANNOT_TELL, MISSES
from stages.statistics import (
    NORMAL,
    Interval,
    Paired,
    change,
    images_needed,
    least,
    loss_sums,
    losses_of,
    mean_loss,
    most,
    paired,
    z_of,
)


@dataclass(frozen=True)
class Test:
    """A question that `naming` names an ordered path for, which `testing` tests: the same models on
    other images. `matched` is the row of the model to match."""

    naming: ScoreSet
    testing: ScoreSet
    pricer: Pricer
    costs: ExpectedCosts
    table: Sequence[SearchRule]
    question: Question
    matched: int | None = None
    chains: Sequence[Cascade] = ()
    threads: int | None = None

    @cached_property
    def path(self) -> list[Cascade]:
        aim = testing_order.aim_of(self.question, self.naming, self.costs, self.matched)
        how = (self.table, aim, self.chains, self.threads)
        return testing_order.path(self.naming, self.costs, *how)

    def answer(self) -> Cascade | None:
        """The last of the path that passes before the first that fails, or the model that passes
        alone where that is no dearer; None where nothing of the path passes: then `ranking` picks.
        """
        passed, (alone, reached) = list(takewhile(self._passes, self.path)), self.single
        if not passed:
            return None
        point = passed[-1]
        # Models alone are tested by themselves: one may pass that is no dearer than the path's.
        if reached and self.question.cheapest:
            bill = self.pricer.on(self.naming).bill(point.models, decide(self.naming, point).stage)
            if self.costs.alone[alone] <= bill.total.value:
                return Cascade.of((self.testing.models[alone],))
        return point

    def _passes(self, point: Cascade) -> bool:
        """Every limit, each at the same level: all of them are kept or one of the tests errs."""
        found = decide(self.testing, point)
        return all(self.keeps(goal, point, found) for goal in self.question.goals)

    def keeps(self, goal: Goal, point: Cascade, found: Outcome) -> bool:
        if goal.kind in OF_ANSWERS:
            low = self._accuracy(goal, found).low
            return low > self._least(goal) if goal.kind == MATCH else low >= self._least(goal)
        return self._most(goal, point, found) <= goal.number

    def _least(self, goal: Goal) -> float:
        """What `_accuracy` must reach."""
        return {MATCH: -goal.within, LOSS: -(goal.value or 0.0)}.get(goal.kind, goal.value or 0.0)

    def _against(self, found: Outcome) -> Paired:
        """The model to match; under a loss by how much less is lost."""
        m = self.matched or 0
        if self.testing.loss is None:
            return paired(found.correct, self.testing.correct[m])
        return self._losses(self.testing.credit[m], found.credit)[1]

    def _losses(self, credit: np.ndarray, other: np.ndarray) -> tuple[Paired, Paired]:
        """(the loss, how much more it is than the other's), in units of 1/scale."""
        loss = self.testing.loss
        return losses_of(loss_sums(credit, other).tolist(), len(credit), loss.most if loss else 1)

    def _accuracy(self, goal: Goal, found: Outcome) -> Interval:
        """What is asked of accuracy, with its one-sided limits: the change against the model to
        match, or itself; under a loss minus that."""
        sure, loss = self.question.sure, self.testing.loss
        if goal.kind == MATCH:
            return change(self._against(found), 2 * sure - 1).over(loss.scale if loss else 1)
        if loss is not None:
            lost, _ = self._losses(found.credit, found.credit)
            return mean_loss(lost, 2 * sure - 1).over(loss.scale).negative
        right, n = int(found.correct.sum()), len(found.correct)
        return Interval(right / n, least(right, n, 1 - sure), most(right, n, 1 - sure))

    def _most(self, goal: Goal, point: Cascade, found: Outcome) -> float:
        """The upper limit of what a goal limits."""
        ran, n = int((found.stage > 0).sum()), len(found.stage)
        use = most(ran, n, 1 - self.question.sure)
        if goal.kind == USAGE:
            return use if len(point.models) > 1 else 0.0
        pricer = self.pricer if goal.pricer is None else goal.pricer.on(self.testing)
        return self._most_cost(pricer, point, found, use - ran / n)

    def _most_cost(self, pricer: Pricer, point: Cascade, found: Outcome, more_use: float) -> float:
        """Of how often B runs, exactly, of what each request costs, where that is known, and of
        measuring."""
        bill, more = pricer.bill(point.models, found.stage), 0.0
        if pricer.prices.by_request or len(point.models) > 2:
            more = bill.drawn * z_of(2 * self.question.sure - 1) / NORMAL
        if len(point.models) == 2:
            more = max(more, more_use * pricer.model(point.models[1]).value)
        return bill.total.value + float(np.hypot(more, bill.measured))

    def short(self, point: Cascade) -> tuple[str, int | None]:
        """Whether what passed no test surely misses, else about how many images would tell."""
        found, question = decide(self.testing, point), self.question
        if any(self.misses(goal, point, found) for goal in question.goals):
            return MISSES, None
        if question.several or question.matching is None:
            return CANNOT_TELL, None
        if self.testing.loss is not None:
            return CANNOT_TELL, None
        differing = self._against(found).differing
        return CANNOT_TELL, images_needed(differing, question.within, 1 - question.sure)

    def misses(self, goal: Goal, point: Cascade, found: Outcome) -> bool:
        if goal.kind in OF_ANSWERS:
            high = self._accuracy(goal, found).high
            return high <= self._least(goal) if goal.kind == MATCH else high < self._least(goal)
        if goal.kind == USAGE:
            ran, n = int((found.stage > 0).sum()), len(found.stage)
            return least(ran, n, 1 - self.question.sure) > goal.number
        pricer = self.pricer if goal.pricer is None else goal.pricer.on(self.testing)
        return pricer.bill(point.models, found.stage).total.low > goal.number

    @cached_property
    def single(self) -> tuple[int, bool]:
        """The model that one would deploy alone, by its row, and whether it passes the test: the
        cheapest that does (within a cost, the most accurate); where none does, the one to match, or
        the most accurate. Of equals the cheaper one."""
        prices, right = self.costs.alone, self.testing.credit.sum(axis=1, dtype=np.int64)
        models = [Cascade.of((name,)) for name in self.testing.models]
        passing = np.array([self._passes_alone(m, p) for m, p in enumerate(models)])
        if self.matched is not None and not passing.any():
            return self.matched, False
        return best_alone(passing, right, prices, cheapest=self.question.cheapest)

    def _passes_alone(self, model: int, point: Cascade) -> bool:
        """A model matches itself, whatever the margin."""
        found = decide(self.testing, point)
        return all(
            (goal.kind == MATCH and model == self.matched) or self.keeps(goal, point, found)
            for goal in self.question.goals
        )

    def near(self, single: int, within: float) -> str | None:
        """Of the most accurate model that is cheaper than this one, why it does not do, where it
        misses by little or not at all by its estimate."""
        under = np.flatnonzero(self.costs.alone < self.costs.alone[single])
        lossy = self.testing.loss is not None
        if not len(under) or self.question.several or not self.question.cheapest or lossy:
            return None
        after = under[self.testing.correct[under].sum(axis=1).argmax()]
        [goal] = self.question.goals
        point = Cascade.of((self.testing.models[after],))
        found = self._accuracy(goal, decide(self.testing, point))
        if found.value < self._least(goal) - within:
            return None
        why = f"right on {found.low:.1%} only"
        if goal.kind == MATCH:
            why = f"{-100 * found.low:.1f} points less accurate"
        return f"{self.testing.models[after]} alone does not pass: it may be {why}."
