"""A search done again in each of many resamples of the fitting images, for `statistics.procedure`.

Every pair, rule and λ, exactly, as `pairs.frontier` does on the images themselves. A sweep rises
and falls only where A and B differ in being right, so each resample gathers and sums its weights
there alone, which is a small share of the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from stages.cascade import Ordering, cut, pair_gains, sum_type, sums, trusted
from stages.costs import ExpectedCosts
from stages.scores import ScoreSet
from stages.search.frontier import Frontier, Points
from stages.search.pairs import SearchRule, by_score
from stages.search.question import Question
from stages.search.ranking import Choices, nearest
from stages.statistics import Choice

# Ends that are dismissed together.
_BLOCK = 32


@dataclass(frozen=True)
class Candidate:
    """A cascade whose λ is to be chosen: any pair, rule and final answer, on the fitting images.

    `ordering` by the rule's score; `gain` int [N] as `gains` gives it; `correct_a` bool [N], under
    a loss A's credit.
    """

    ordering: Ordering
    gain: np.ndarray
    correct_a: np.ndarray


def choice(c: int, candidate: Candidate, weights: np.ndarray, k: int) -> Choice:
    """The candidate, number c, with the λ that in this bag (int32 [N]) sends its first k on."""
    ordering, seen = candidate.ordering, weights > 0
    limit = ordering.subset(seen).limit(int(np.count_nonzero(seen[ordering.order[:k]])))
    escalated = np.empty(len(weights), bool)
    escalated[ordering.order] = ~trusted(ordering.score, ordering.values, limit)
    earned = candidate.correct_a + escalated * candidate.gain
    return Choice(c, cut(ordering.score, limit), earned, escalated)


@dataclass(frozen=True)
class Resampling:
    """A search: its fitting images, what a request costs, its rules, and what is asked, which is
    not to match a model.

    Candidates are numbered: rule + R · (B + M · A), and M² R + A for A alone.
    """

    scores: ScoreSet
    costs: ExpectedCosts
    table: Sequence[SearchRule]
    question: Question

    def models(self, candidate: int) -> tuple[str, ...]:
        """The models of a candidate, by its number."""
        names, size = self.scores.models, len(self.scores.models)
        if candidate >= size * size * len(self.table):
            return (names[candidate - size * size * len(self.table)],)
        a, b = divmod(candidate // len(self.table), size)
        return names[a], names[b]

    def choose(self, weights: np.ndarray) -> list[Choice]:
        """What the search chooses under each of weights int32 [R, N]."""
        credit = self.scores.credit
        alone = weights @ credit.T.astype(sum_type(credit))
        bags = list(zip(weights, alone, self.costs.of_bags(weights), strict=True))
        found = [Frontier(Points.alone(prices, right)) for _, right, prices in bags]
        for sweeps in self._sweeps():
            for frontier, bag in zip(found, bags, strict=True):
                frontier.add(sweeps.better(frontier, *bag, self.costs))
        return [
            self._choice(frontier.points, *bag) for frontier, bag in zip(found, bags, strict=True)
        ]

    def _sweeps(self) -> Iterator[_Sweeps]:
        """Those of the cheapest first models lead: what they reach dismisses most of the rest."""
        for a, rows in product(
            np.argsort(self.costs.alone).tolist(), by_score(self.table).values()
        ):
            yield _Sweeps.of(self, a, rows)

    def _choice(
        self, points: Points, weight: np.ndarray, alone: np.ndarray, prices: np.ndarray
    ) -> Choice:
        """The question, put to the frontier of one resample."""
        kept = np.ones(len(prices), bool)
        loss = self.scores.loss
        ends = (points.cost, points.right, alone, prices, kept)
        scale = 1 if loss is None else loss.scale
        asked = Choices(int(weight.sum()), *ends, scale=scale)
        row = nearest(self.question, asked)
        a, b, rule = (int(column[row]) for column in (points.first, points.second, points.rule))
        size, credit = len(self.scores.models), self.scores.credit
        if rule < 0:
            number = size * size * len(self.table) + a
            return Choice(number, -np.inf, credit[a], np.zeros(credit.shape[1], bool))
        candidate = Candidate(self.ordering(a, rule), self.gain(a, b, rule), credit[a])
        number = rule + len(self.table) * (b + size * a)
        return choice(number, candidate, weight, int(points.k[row]))

    def gain(self, a: int, b: int, rule: int) -> np.ndarray:
        """int [N], as `gains`."""
        by = self.table[rule]
        return pair_gains(self.scores, by.score, a, b, by.postcheck)

    def ordering(self, a: int, rule: int) -> Ordering:
        return Ordering.by(self.scores, self.table[rule].score, a)


@dataclass(frozen=True)
class _Sweeps:
    """All sweeps of a first model and score, back to back, as E images that gain or lose.

    `image` and `gain` [E]. Of the R ends of tie groups that win some: `last`, the events up to
    there, and `k`, how many images go to B. In blocks [Q], each within one sweep: `starts`, their
    first ends; `base`, the events before the sweep; `second` and `rule`.
    """

    a: int
    order: np.ndarray
    image: np.ndarray
    gain: np.ndarray
    last: np.ndarray
    k: np.ndarray
    starts: np.ndarray
    base: np.ndarray
    second: np.ndarray
    rule: np.ndarray

    @classmethod
    def of(cls, search: Resampling, a: int, rows: Sequence[int]) -> _Sweeps:
        ordering = search.ordering(a, rows[0])
        end = np.repeat(ordering.ends[1:], np.diff(ordering.ends))
        found = []
        events = ends = 0
        for b in range(len(search.scores.models)):
            for row in rows if b != a else ():
                gain = search.gain(a, b, row)[ordering.order]
                at = np.flatnonzero(gain)
                last, k = _rising(end[at], gain[at])
                starts = np.arange(0, len(last), _BLOCK)
                about = np.broadcast_to([[events], [b], [row]], (3, len(starts)))
                found.append((ordering.order[at], gain[at], events + last, k, ends + starts, about))
                events, ends = events + len(at), ends + len(last)
        *columns, blocks = zip(*found, strict=True)
        parts = [np.concatenate(column) for column in columns]
        return cls(a, ordering.order, *parts, *np.concatenate(blocks, axis=1))

    def better(
        self,
        found: Frontier,
        weight: np.ndarray,
        rights: np.ndarray,
        prices: np.ndarray,
        costs: ExpectedCosts,
    ) -> Points:
        """What beats the frontier of a resample: its weights int [N], and of each model [M] the
        right answers, or credit, and cost."""
        kind = sum_type(self.gain)
        total = sums(weight[self.image].astype(kind) * self.gain, kind)
        alone, right = prices[self.a], int(rights[self.a])
        more, ran = costs.in_bag(self.order, weight)
        reached = total[self.last]
        most = right - total[self.base]
        if len(self.starts):
            most += np.maximum.reduceat(reached, self.starts)
        # Within a sweep cost only rises: a block cannot beat what its first end cannot.
        least = alone + more[self.second, ran[self.k[self.starts]]]
        block = np.flatnonzero(most > found.bar(least))
        stops = np.append(self.starts, len(self.k))[block + 1]
        sizes = stops - self.starts[block]
        rows = np.arange(sizes.sum()) + np.repeat(stops - np.cumsum(sizes), sizes)
        block = np.repeat(block, sizes)
        gained = right + reached[rows] - total[self.base[block]]
        cost = alone + more[self.second[block], ran[self.k[rows]]]
        kept = np.flatnonzero(gained > found.bar(cost))
        a = np.full(len(kept), self.a, np.int32)
        second, rule = (column[block[kept]].astype(np.int32) for column in (self.second, self.rule))
        return Points(
            cost[kept], gained[kept].astype(np.int64), a, second, rule, self.k[rows[kept]]
        )


def _rising(end: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(events up to and with the group, where it ends) of tie groups that win an image."""
    if not len(end):
        return end, end
    last = np.flatnonzero(np.diff(end, append=-1)) + 1
    wins = np.maximum.reduceat(gain, np.concatenate(([0], last[:-1]))) > 0
    return last[wins], end[last[wins] - 1]
