"""Of each model alone, and of each pair under each rule, the λ that answers a question: for whoever
wants more answers than the best."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.cascade import Cascade, Ordering, pair_gains, prefix
from stages.costs import ExpectedCosts
from stages.scores import ScoreSet
from stages.search.caps import Cap, kept_alone, sent_within
from stages.search.frontier import Points
from stages.search.pairs import SearchRule, by_score, deployable
from stages.search.question import Question
from stages.search.ranking import Choices, choices_of

Pair = tuple[int, int]


@dataclass(frozen=True)
class BestOfEach:
    """What each pair under each rule of the `table` can do for the `question` on these images, one
    point each of those that can, by `answers`; `cheapest` where that is wanted instead of what the
    question wants."""

    scores: ScoreSet
    costs: ExpectedCosts
    table: Sequence[SearchRule]
    question: Question
    caps: Sequence[Cap] = ()
    cheapest: bool | None = None

    def answers(self, pairs: Collection[Pair] | None = None) -> Points:
        """Of the pairs (default: all there are), and of the models alone."""
        count = range(len(self.scores.models))
        wanted = {(a, b) for a in count for b in count if a != b} if pairs is None else set(pairs)
        asked = self._asked
        alone = Points.alone(self.costs.alone, asked.alone)
        found = [alone.take(np.flatnonzero(asked.enough_alone(self.question.compared)))]
        for a in sorted({a for a, _ in wanted}):
            for score, rows in by_score(self.table).items():
                ordering = Ordering.by(self.scores, score, a)
                for b in (b for b in count if (a, b) in wanted):
                    found += self._best(ordering, a, b, rows)
        return Points.joined(found)

    @cached_property
    def _asked(self) -> Choices:
        kept = kept_alone(self.caps, len(self.scores.models))
        return choices_of(self.question, self.scores, self.costs.alone, kept)

    def _best(self, ordering: Ordering, a: int, b: int, rows: Sequence[int]) -> Iterator[Points]:
        """Of one pair under rules of the ordering's score."""
        question, cheapest = self.question, self.cheapest
        cheapest = question.cheapest if cheapest is None else cheapest
        right_a = int(self.scores.credit[a].sum(dtype=np.int64))
        most = sent_within(self.caps, a, b, ordering.order)
        ends = ordering.ends[ordering.ends <= most]
        cost = self.costs.alone[a] + self.costs.along(b, ordering.order)[ends]
        for row in rows:
            rule = self.table[row]
            gain = pair_gains(self.scores, rule.score, a, b, rule.postcheck)
            right = right_a + prefix(ordering, gain)[ends].astype(np.int64)
            good = np.flatnonzero(self._asked.keep(question.compared, cost, right))
            # Cost only rises along the sweep: the first is the cheapest, also of equals.
            if len(good):
                at = good[[0 if cheapest else right[good].argmax()]]
                first, second, by = (np.full(1, x, np.int32) for x in (a, b, row))
                yield Points(cost[at], right[at], first, second, by, ends[at])


def ranked(points: Points, question: Question) -> Points:
    """The best first; of models and pairs that come several times, the first stays."""
    keys = (-points.right, points.cost) if question.cheapest else (points.cost, -points.right)
    ordered = points.take(np.lexsort(keys))
    pairs = np.stack([ordered.first, ordered.second])
    _, first = np.unique(pairs, axis=1, return_index=True)
    return ordered.take(np.sort(first))


def chosen_again(of: BestOfEach, points: Points) -> list[Cascade]:
    """For each of these points what its models, by the best rule and λ, do on other images for the
    same question; where they cannot, the more accurate of them alone."""
    pairs = list(zip(points.first.tolist(), points.second.tolist(), strict=True))
    here = ranked(of.answers([(a, b) for a, b in pairs if b >= 0]), of.question)
    places = zip(here.first.tolist(), here.second.tolist(), strict=True)
    made = dict(zip(places, deployable(of.scores, here, of.table), strict=True))
    names, right = of.scores.models, of.scores.credit.sum(axis=1, dtype=np.int64)

    def alone(a: int, b: int) -> Cascade:
        return Cascade.of((names[a if b < 0 or right[a] >= right[b] else b],))

    return [made.get(pair) or alone(*pair) for pair in pairs]
