"""The frontier on the fitting images, as operating points that can be deployed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from stages.cascade import Cascade, decide
from stages.costs import ExpectedCosts, pareto, upper_hull
from stages.parallel import default_workers
from stages.scores import LABEL_FREE, ScoreSet, is_nobody, named, without_nobody
from stages.search.caps import Cap, kept_alone
from stages.search.chains import Chain, chain_candidates
from stages.search.pairs import SearchRule, deployable, frontier, rules
from stages.search.question import Question
from stages.search.ranking import Choices, answer, choices_of


@dataclass(frozen=True)
class Space:
    """What is searched: the rules by which every pair is tried, and with `stages` 3 chains of three
    of the models that the pairs on the frontier are made of; of two before a last stage that is no
    model where that may come `third`."""

    table: tuple[SearchRule, ...] = tuple(rules(LABEL_FREE))
    stages: int = 2
    third: bool = True


@dataclass(frozen=True)
class Found:
    """The Pareto frontier on N fitting images, by ascending cost: `points` [F], `cost` float64 and
    `right` int64 [F]; `prices` float64 [M], what each model costs alone, and `kept` bool [M], those
    that keep all `caps`. Where none does, the frontier is the one that comes nearest."""

    scores: ScoreSet
    points: tuple[Cascade, ...]
    cost: np.ndarray
    right: np.ndarray
    prices: np.ndarray
    caps: tuple[Cap, ...] = ()

    @cached_property
    def kept(self) -> np.ndarray:
        return kept_alone(self.caps, self.scores)

    @cached_property
    def alone(self) -> np.ndarray:
        """int64 [M]: the right answers of each model, or its credit."""
        return self.scores.credit.sum(axis=1)

    def choices(self, question: Question) -> Choices:
        made = choices_of(question, self.scores, self.prices, self.kept)
        return replace(made, cost=self.cost, right=self.right)

    @cached_property
    def hull(self) -> np.ndarray:
        """Rows of the upper hull: intp [H]."""
        return upper_hull(self.cost, self.right)

    def answer(self, question: Question) -> int | None:
        return answer(question, self.choices(question))


def find(
    scores: ScoreSet,
    costs: ExpectedCosts,
    space: Space,
    threads: int | None = None,
    caps: Sequence[Cap] = (),
) -> Found:
    """Everything on these images within the caps that nothing else beats: models, cascades and
    chains."""
    points = frontier(scores, costs, space.table, threads, caps).points
    named = deployable(scores, points, space.table)
    found = Found(scores, named, points.cost, points.right, costs.alone, tuple(caps))
    chained = space.stages == 3 or (space.third and scores.nobody is not None)
    return _with_chains(found, costs, space, threads) if chained else found


def _with_chains(found: Found, costs: ExpectedCosts, space: Space, threads: int | None) -> Found:
    """The frontier over pairs and the hulls of all chains that its pairs suggest."""
    scores, table = found.scores, space.table
    alone = dict(zip(scores.models, costs.alone.tolist(), strict=True))
    pairs = {point.models for point in found.points if len(point.models) == 2}
    if scores.nobody is not None:  # which may take all that a second model would have
        known = without_nobody(scores)
        bare = costs.of_first(len(known.models))
        there = frontier(known, bare, table, threads).points
        pairs |= {
            (scores.models[a], scores.models[b])
            for a, b in zip(there.first.tolist(), there.second.tolist(), strict=True)
            if b >= 0
        }
        running = {name for pair in pairs for name in pair if name != scores.nobody.name}
        pairs |= {(name, scores.nobody.name) for name in running}
    chains = chain_candidates(pairs, alone)
    if space.stages < 3:
        chains = [chain for chain in chains if is_nobody(chain[-1])]
    tasks = [(chain, rule) for chain in chains for rule in table]

    def hull(task: tuple[tuple[str, str, str], SearchRule]) -> list[tuple[Cascade, float, int]]:
        return _hull(scores, *task, costs, found.caps)

    with ThreadPoolExecutor(threads or default_workers()) as pool:
        added = [row for rows in pool.map(hull, tasks) for row in rows]
    points = (*found.points, *(point for point, _, _ in added))
    cost = np.concatenate((found.cost, [cost for _, cost, _ in added]))
    right = np.concatenate((found.right, np.array([right for *_, right in added], np.int64)))
    kept = pareto(cost, right)
    return replace(found, points=tuple(points[i] for i in kept), cost=cost[kept], right=right[kept])


def _hull(
    scores: ScoreSet,
    models: tuple[str, str, str],
    rule: SearchRule,
    costs: ExpectedCosts,
    caps: Sequence[Cap],
) -> list[tuple[Cascade, float, int]]:
    """(point, cost, right answers) of the vertices of a chain's hull that run all three models and
    keep the caps."""
    rows, by = [scores.index(model) for model in models], named(rule.score)
    first, second, third = costs.alone[rows].tolist()
    runs, sure = costs.runs(rows[1:]), np.stack([scores.score(rule.score, row) for row in rows])
    if is_nobody(models[-1]):  # whose runs may cost nothing, and whose word stands
        sure[-1] = by.sign * np.inf
    if runs is None and min(first, second, third) <= 0:
        runs = np.outer((second, third), np.ones(sure.shape[1]))
    prices = (first, second, third) if runs is None else (first, 1.0, 1.0)
    chain = Chain(by, sure, scores.credit[rows], prices, rule.postcheck, runs)
    points = [
        (rule.cascade(models, *p.limits), p.cost, round(p.accuracy * len(scores.labels)))
        for p in chain.hull()
        if p.usage_c > 0
    ]
    if not caps:
        return points
    stages = [decide(scores, point).stage for point, _, _ in points]
    return [
        point
        for point, stage in zip(points, stages, strict=True)
        if all(cap.keeps(rows, stage) for cap in caps)
    ]
