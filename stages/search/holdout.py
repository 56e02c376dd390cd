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
from stages.search.question import ACCURACY, COST, MATCH, Question
from stages.search.ranking import best_alone
from stages.search.verdict import CANNOT_TELL, MISSES
from stages.statistics import (
    NORMAL,
    Interval,
    Paired,
    change,
    images_needed,
    least,
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

    @property
    def _goal(self) -> float:
        """Of a cost the most; of accuracy, or its change against the model to match, the least."""
        matching = self.question.kind == MATCH
        return -self.question.within if matching else self.question.value or 0.0

    @cached_property
    def path(self) -> list[Cascade]:
        if self.question.kind == MATCH:
            m = self.matched or 0
            right, below = self.naming.correct[m], float(self.costs.alone[m])
            aim = testing_order.matching(right, self.question.within, below)
        else:
            named = {ACCURACY: testing_order.reaching, COST: testing_order.within}
            aim = named[self.question.kind](self._goal, len(self.naming.labels))
        return testing_order.path(
            self.naming, self.costs, self.table, aim, self.chains, self.threads
        )

    def answer(self) -> Cascade | None:
        """The last of the path that passes before the first that fails, or the model that passes
        alone where that is no dearer; None where nothing of the path passes: then `ranking` picks.
        """
        passed, (alone, reached) = list(takewhile(self._passes, self.path)), self.single
        if not passed:
            return None
        point = passed[-1]
        # Models alone are tested by themselves: one may pass that is no dearer than the path's.
        if reached and self.question.kind != COST:
            bill = self.pricer.on(self.naming).bill(point.models, decide(self.naming, point).stage)
            if self.costs.alone[alone] <= bill.total.value:
                return Cascade.of((self.testing.models[alone],))
        return point

    def _passes(self, point: Cascade) -> bool:
        found = decide(self.testing, point)
        if self.question.kind == COST:
            return self._most_cost(point, found) <= self._goal
        low = self._accuracy(found.correct).low
        return low > self._goal if self.question.kind == MATCH else low >= self._goal

    def _against(self, correct: np.ndarray) -> Paired:
        """The model to match."""
        return paired(correct, self.testing.correct[self.matched or 0])

    def _accuracy(self, correct: np.ndarray) -> Interval:
        """What is asked of accuracy, with its one-sided limits: the change against the model to
        match, or itself."""
        sure = self.question.sure
        if self.question.kind == MATCH:
            return change(self._against(correct), 2 * sure - 1)
        right, n = int(correct.sum()), len(correct)
        return Interval(right / n, least(right, n, 1 - sure), most(right, n, 1 - sure))

    def _most_cost(self, point: Cascade, found: Outcome) -> float:
        """The upper limit of its cost: of how often B runs, exactly, of what each request costs,
        where that is known, and of measuring."""
        sure, n = self.question.sure, len(found.stage)
        bill, more = self.pricer.bill(point.models, found.stage), 0.0
        if self.pricer.prices.by_request or len(point.models) > 2:
            more = bill.drawn * z_of(2 * sure - 1) / NORMAL
        if len(point.models) == 2:
            ran = int((found.stage > 0).sum())
            left = most(ran, n, 1 - sure) - ran / n
            more = max(more, left * self.pricer.model(point.models[1]).value)
        return bill.total.value + float(np.hypot(more, bill.measured))

    def short(self, point: Cascade) -> tuple[str, int | None]:
        """Whether what passed no test surely misses, else about how many images would tell."""
        found, question = decide(self.testing, point), self.question
        if question.kind == COST:
            misses = self.pricer.bill(point.models, found.stage).total.low > self._goal
        else:
            high = self._accuracy(found.correct).high
            misses = high <= self._goal if question.kind == MATCH else high < self._goal
        if misses or question.kind != MATCH:
            return (MISSES if misses else CANNOT_TELL), None
        differing = self._against(found.correct).differing
        return CANNOT_TELL, images_needed(differing, question.within, 1 - question.sure)

    @cached_property
    def single(self) -> tuple[int, bool]:
        """The model that one would deploy alone, by its row, and whether it passes the test: the
        cheapest that does (within a cost, the most accurate); where none does, the one to match, or
        the most accurate. Of equals the cheaper one."""
        prices, right = self.costs.alone, self.testing.correct.sum(axis=1)
        models = [Cascade.of((name,)) for name in self.testing.models]
        passing = np.array([m == self.matched or self._passes(p) for m, p in enumerate(models)])
        return best_alone(passing, right, prices, cheapest=self.question.kind != COST)

    def near(self, single: int, within: float) -> str | None:
        """Of the most accurate model that is cheaper than this one, why it does not do, where it
        misses by little or not at all by its estimate."""
        under = np.flatnonzero(self.costs.alone < self.costs.alone[single])
        if not len(under) or self.question.kind == COST:
            return None
        after = under[self.testing.correct[under].sum(axis=1).argmax()]
        found = self._accuracy(self.testing.correct[after])
        if found.value < self._goal - within:
            return None
        why = f"right on {found.low:.1%} only"
        if self.question.kind == MATCH:
            why = f"{-100 * found.low:.1f} points less accurate"
        return f"{self.testing.models[after]} alone does not pass: it may be {why}."
