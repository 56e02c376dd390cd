"""An answer that is tested: on images without a part in what names it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.cascade import Cascade, Outcome, decide
from stages.costs import ExpectedCosts, Pricer
from stages.scores import ScoreSet
from stages.search import testing_order
from stages.search.pairs import SearchRule
from stages.search.question import ACCURACY, COST, MATCH, Question
from stages.search.verdict import CANNOT_TELL, MISSES
from stages.statistics import Paired, change, images_needed, least, most, paired


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
    def _value(self) -> float:
        return self.question.value or 0.0

    @cached_property
    def path(self) -> list[Cascade]:
        m, n = self.matched or 0, len(self.naming.labels)
        right, below = self.naming.correct[m], float(self.costs.alone[m])
        aims: dict[str, Callable[[], testing_order.Aim]] = {
            MATCH: lambda: testing_order.matching(right, self.question.within, below),
            ACCURACY: lambda: testing_order.reaching(self._value, n),
            COST: lambda: testing_order.within(self._value, n),
        }
        aim = aims[self.question.kind]()
        return testing_order.path(
            self.naming, self.costs, self.table, aim, self.chains, self.threads
        )

    @cached_property
    def passed(self) -> int:
        """How many of the path pass before the first that fails."""
        for count, point in enumerate(self.path):
            if not self._passes(point):
                return count
        return len(self.path)

    def _passes(self, point: Cascade) -> bool:
        found, sure = decide(self.testing, point), self.question.sure
        if self.question.kind == MATCH:
            return self._no_worse(found.correct)
        if self.question.kind == ACCURACY:
            return least(int(found.correct.sum()), len(found.correct), 1 - sure) >= self._value
        return self._most_cost(point, found) <= self._value

    def against(self, correct: np.ndarray) -> Paired:
        """The model to match."""
        return paired(correct, self.testing.correct[self.matched or 0])

    def _no_worse(self, correct: np.ndarray) -> bool:
        """The one-sided limit of the difference lies above −margin."""
        limit = change(self.against(correct), 2 * self.question.sure - 1).low
        return limit > -self.question.within

    def _most_cost(self, point: Cascade, found: Outcome) -> float:
        """The upper limit of its cost: of how often B runs, exactly, and of measuring."""
        sure, n = self.question.sure, len(found.stage)
        bill = self.pricer.bill(point.models, found.stage)
        if len(point.models) == 2:
            ran = int((found.stage > 0).sum())
            more = (most(ran, n, 1 - sure) - ran / n) * self.pricer.model(point.models[1]).value
            return bill.total.value + float(np.hypot(more, bill.measured))
        return bill.total.high

    def short(self, point: Cascade) -> tuple[str, int | None]:
        """Whether what passed no test surely misses, else about how many images would tell."""
        found, sure = decide(self.testing, point), self.question.sure
        if self.question.kind == MATCH:
            against, within = self.against(found.correct), self.question.within
            if change(against, 2 * sure - 1).high <= -within:
                return MISSES, None
            return CANNOT_TELL, images_needed(against.differing, within, 1 - sure)
        if self.question.kind == ACCURACY:
            right, n = int(found.correct.sum()), len(found.correct)
            misses = most(right, n, 1 - sure) < self._value
        else:
            misses = self.pricer.bill(point.models, found.stage).total.low > self._value
        return (MISSES if misses else CANNOT_TELL), None

    def single(self) -> tuple[int, bool]:
        """The model that one would deploy alone, by its row, and whether it passes the test: the
        cheapest that does (within a cost, the most accurate); where none does, the one to match, or
        the most accurate. Of equals the cheaper one."""
        prices, right = self.costs.alone, self.testing.correct.sum(axis=1)
        models = [Cascade.of((name,)) for name in self.testing.models]
        passing = np.array([m == self.matched or self._passes(p) for m, p in enumerate(models)])
        rows = np.flatnonzero(passing) if passing.any() else np.arange(len(models))
        most = self.question.kind == COST or not passing.any()
        keys = (prices, -right) if most else (-right, prices)
        return int(rows[np.lexsort([key[rows] for key in keys])[0]]), bool(passing.any())

    def near(self, single: int, most: float) -> str | None:
        """Of the most accurate model that is cheaper than this one, why it does not do, where it
        misses by little or not at all by its estimate."""
        under = np.flatnonzero(self.costs.alone < self.costs.alone[single])
        if not len(under) or self.question.kind == COST:
            return None
        after = under[self.testing.correct[under].sum(axis=1).argmax()]
        right, sure = self.testing.correct[after], self.question.sure
        name, n = self.testing.models[after], len(right)
        if self.question.kind == MATCH:
            found = change(self.against(right), 2 * sure - 1)
            close = found.value >= -self.question.within - most
            less = f"it may be {-100 * found.low:.1f} points less accurate"
            return f"{name} alone does not pass: {less}." if close else None
        low = least(int(right.sum()), n, 1 - sure)
        close = float(right.mean()) >= self._value - most
        return f"{name} alone does not pass: it may be right on {low:.1%} only." if close else None
