"""Which cascades to test, and in which order: a path that the fitting images name, to be tested on
others one by one up to the first that fails.

Each test is at the same level, and none is divided among the path's members: a false one can only
be passed by being reached (fixed sequence, Maurer, Hothorn & Lehmacher 1995). The path leads from
what is surely good enough to what only looks so, each member cheaper (or, within a cost, more
accurate) than all before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from stages.cascade import Cascade, Ordering, decide, pair_gains, sums
from stages.costs import ExpectedCosts, pareto, records
from stages.scores import ScoreSet
from stages.search.caps import Cap, caps_of
from stages.search.pairs import SearchRule, by_score, usual_threads
from stages.search.question import ACCURACY, COST, LOSS, MATCH, Goal, Question

# Standard errors from which on a cascade counts as safe; the longest path.
_SAFE, _MOST = 7.0, 100


@dataclass(frozen=True)
class PointCounts:
    """Operating points [P] on n images: `costs` float64 [1 + J, P] per request, that which is
    compared and those of J caps, and their standard `errors` from the requests being a sample;
    `right` int64 answers; against a reference `difference` int64, right answers more, and
    `differing` int64, images that exactly one of the two gets right. Under a loss these are sums of
    credit and of the squares of its differences, `squares` those of credit itself; `unit` is (the
    most that an image differs by, of how many one loss is)."""

    n: int
    unit: tuple[int, int]
    costs: np.ndarray
    errors: np.ndarray
    right: np.ndarray
    difference: np.ndarray
    differing: np.ndarray
    squares: np.ndarray

    @property
    def cost(self) -> np.ndarray:
        return self.costs[0]


Safety = Callable[[PointCounts], np.ndarray]


@dataclass(frozen=True)
class Aim:
    """What must be shown of an operating point.

    `safety` float64 [P]: by how many standard errors the aim is reached; `value` float64 [P],
    larger is wanted. `reference` int [N] is the credit of the model compared with, on the fitting
    images; `below`: only points cheaper than this are of use. `caps` are what costs that
    are not compared are limited by.
    """

    safety: Safety
    value: Callable[[PointCounts], np.ndarray]
    reference: np.ndarray
    below: float = np.inf
    caps: tuple[Cap, ...] = ()


def _errors(mean: np.ndarray, squares: np.ndarray, n: int, most: int) -> np.ndarray:
    """Standard errors of a mean of −most … most; one image won and one lost are added (Agresti &
    Min 2005), without which no difference among few images looks sure."""
    return np.sqrt(np.maximum((squares + 2 * most**2) / n - mean**2, (most / n) ** 2) / n)


def aim_of(
    question: Question, scores: ScoreSet, costs: ExpectedCosts, matched: int | None = None
) -> Aim:
    """That of the question: as safe as the least safe of its limits. `matched` is the row of the
    model to match."""
    rows = iter(range(1, 1 + len(question.caps)))
    each = [
        _within(goal.number, next(rows)) if goal in question.caps else _SAFETY[goal.kind](goal)
        for goal in question.goals
    ]
    reference, below = np.zeros(len(scores.labels), scores.credit.dtype), np.inf
    if matched is not None:
        reference = scores.credit[matched]
        # By itself it answers, unless another limit is too low for it.
        below = float(costs.alone[matched]) if not question.several else np.inf
    return Aim(
        lambda found: np.min([safety(found) for safety in each], axis=0),
        _cheapest if question.cheapest else _most_accurate,
        reference,
        below,
        caps_of(question, scores),
    )


def _matching(goal: Goal) -> Safety:
    """The accuracy is less than a margin below the reference's, or the loss above."""

    def safety(found: PointCounts) -> np.ndarray:
        most, scale = found.unit
        mean, margin = found.difference / found.n, goal.within * scale
        return (mean + margin) / _errors(mean, found.differing, found.n, most)

    return safety


def _reaching(goal: Goal) -> Safety:
    def safety(found: PointCounts) -> np.ndarray:
        most, scale = found.unit
        mean = found.right / found.n
        least = -goal.number * scale if goal.kind == LOSS else goal.number
        return (mean - least) / _errors(mean, found.squares, found.n, most)

    return safety


def _within(cost: float, row: int = 0) -> Safety:
    """One of the costs is at most so much."""

    def safety(found: PointCounts) -> np.ndarray:
        spare, error = cost - found.costs[row], found.errors[row]
        # One model costs what it costs.
        sure = np.where(spare >= 0, np.inf, -np.inf)
        return np.divide(spare, error, out=sure, where=error > 0)

    return safety


_SAFETY: dict[str, Callable[[Goal], Safety]] = {
    MATCH: _matching,
    ACCURACY: _reaching,
    LOSS: _reaching,
    COST: lambda goal: _within(goal.number),
}


def _cheapest(found: PointCounts) -> np.ndarray:
    return -found.cost


def _most_accurate(found: PointCounts) -> np.ndarray:
    return found.right.astype(np.float64)


def path(
    scores: ScoreSet,
    costs: ExpectedCosts,
    table: Sequence[SearchRule],
    aim: Aim,
    chains: Sequence[Cascade] = (),
    threads: int | None = None,
) -> list[Cascade]:
    """At most 100 operating points of all models, pairs, rules and λ (and the chains given), the
    safest first, each of more value than all before: what no other beats in both, from the first
    that is safe by seven standard errors to the last that only looks so."""

    def search(task: tuple[int, tuple[str, list[int]]]) -> list[_Found]:
        a, (name, rows) = task
        return list(_pairs(scores, costs, aim, a, name, [table[row] for row in rows]))

    # First, so that a model alone is told as such, not as a cascade whose B never runs.
    found = [_one(scores, costs, aim, Cascade.of((model,))) for model in scores.models]
    tasks = product(range(len(scores.models)), by_score(table).items())
    with ThreadPoolExecutor(threads or usual_threads(scores)) as pool:
        found += [each for several in pool.map(search, tasks) for each in several]
    found += [_one(scores, costs, aim, point) for point in chains]
    return _ordered(found)


@dataclass(frozen=True)
class _Found:
    """Points of one cascade: `safety` and `value` float64 [P], and the one at a row."""

    safety: np.ndarray
    value: np.ndarray
    at: Callable[[int], Cascade]


def _ordered(found: Sequence[_Found]) -> list[Cascade]:
    """The front of all of them, the safest first, thinned evenly."""
    safety = np.concatenate([each.safety for each in found])
    value = np.concatenate([each.value for each in found])
    owner = np.repeat(np.arange(len(found)), [len(each.value) for each in found])
    row = np.concatenate([np.arange(len(each.value)) for each in found])
    front = pareto(-value, safety)[::-1]
    chosen = np.linspace(0, len(front) - 1, min(_MOST, len(front))).round().astype(np.intp)
    return [found[owner[i]].at(int(row[i])) for i in front[chosen].tolist()]


def _kept(found: PointCounts, aim: Aim, at: Callable[[int], Cascade]) -> _Found:
    """Of points in the order of k, which cost ever more, those that anything speaks for."""
    safety, value = np.minimum(aim.safety(found), _SAFE), aim.value(found)
    rows = np.flatnonzero((found.cost < aim.below) & (safety >= 0))
    rows = rows[np.union1d(records(safety[rows]), records(value[rows]))]
    return _Found(safety[rows], value[rows], lambda row: at(int(rows[row])))


def _pairs(
    scores: ScoreSet, costs: ExpectedCosts, aim: Aim, a: int, name: str, rules: Sequence[SearchRule]
) -> Iterator[_Found]:
    """Every λ of A with each other model."""
    n, ordering, kind = len(scores.labels), Ordering.by(scores, name, a), _sums_of(scores)
    credit, reference = scores.credit[a].astype(kind), aim.reference.astype(kind)
    trusted = credit - reference
    tables = [costs, *(cap.costs for cap in aim.caps)]
    for b in range(len(scores.models)):
        spent = costs.alone[a] + costs.along(b, ordering.order)
        most_k = int(np.searchsorted(spent, aim.below))
        ends = ordering.ends[: np.searchsorted(ordering.ends, most_k)]
        if b == a or not len(ends):
            continue
        order = ordering.order[: ends[-1]]
        along = [each.alone[a] + each.along(b, ordering.order)[ends] for each in tables]
        errors = [each.error(a, b, ordering.order, ends) for each in tables]
        for rule in rules:
            gain = pair_gains(scores, name, a, b, rule.postcheck)
            gained = sums(gain[order])[ends]
            differing, squares = (
                int((base * base).sum()) + sums((gain * (2 * base + gain))[order], kind)[ends]
                for base in (trusted, credit)
            )
            found = PointCounts(
                n,
                _unit(scores),
                np.stack(along),
                np.stack(errors),
                int(credit.sum()) + gained,
                int(trusted.sum()) + gained,
                differing,
                squares,
            )
            models = (scores.models[a], scores.models[b])
            yield _kept(found, aim, partial(_deployed, rule, models, ordering, ends))


def _deployed(
    rule: SearchRule, models: tuple[str, str], ordering: Ordering, ends: np.ndarray, row: int
) -> Cascade:
    """The operating point at an end of a pair's sweep."""
    return rule.cascade(models, ordering.limit(int(ends[row])))


def _one(scores: ScoreSet, costs: ExpectedCosts, aim: Aim, point: Cascade) -> _Found:
    """A model alone, or a chain at its λ."""
    found, reference = decide(scores, point), aim.reference
    rows = [scores.index(model) for model in point.models]
    each = [_spent(table, rows, found.stage) for table in (costs, *(c.costs for c in aim.caps))]
    credit = found.credit.astype(np.int64)
    less = credit - reference
    counts = (credit.sum(), less.sum(), (less * less).sum(), (credit * credit).sum())
    columns = (np.array([each]) for each in counts)
    known = PointCounts(len(credit), _unit(scores), *np.array(each).T[:, :, None], *columns)
    return _kept(known, aim, lambda row: point)


def _sums_of(scores: ScoreSet) -> type[np.signedinteger[Any]]:
    """What holds sums of squares of credit."""
    return np.int32 if scores.loss is None else np.int64


def _unit(scores: ScoreSet) -> tuple[int, int]:
    return (1, 1) if scores.loss is None else (scores.loss.most, scores.loss.scale)


def _spent(costs: ExpectedCosts, rows: Sequence[int], stage: np.ndarray) -> tuple[float, float]:
    """Per request, and the standard error of that."""
    spent = costs.spent(rows, stage)
    error = float(spent.std()) / len(spent) ** 0.5 if np.ptp(spent) else 0.0
    # Of one model a mean would round.
    return float(spent.mean() if len(rows) > 1 else costs.alone[rows[0]]), error
