"""Every ordered pair by every rule at every λ, exactly: the frontier of accuracy against cost.

For a first model and score the images are sorted once. Each second model and rule then costs one
gather and two sums of blocks; a block of λ that cannot beat the frontier found so far is not looked
at. Threads share the frontier: numpy releases the interpreter's lock in these loops.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np

from stages.cascade import Cascade, Limit, Ordering, allowed, postchecked, sum_type
from stages.costs import ExpectedCosts, records
from stages.parallel import default_workers
from stages.scores import ScoreSet, named
from stages.search.caps import Cap, kept_alone, nearest_alone, sent_within
from stages.search.frontier import Frontier, Points

# λ that are dismissed together, and images from which on threads gain more than they cost.
_BLOCK, _MANY = 256, 20_000


@dataclass(frozen=True)
class SearchRule:
    """A row of the table that is searched: a score of A, and with or without post-check."""

    score: str
    postcheck: bool = False

    def cascade(self, models: Sequence[str], *limits: Limit) -> Cascade:
        return Cascade.of(models, self.score, *limits, postcheck=self.postcheck)


def rules(scores: Sequence[str], postchecks: Sequence[bool] = (False, True)) -> list[SearchRule]:
    """Each score without and with post-check, where its confidences compare."""
    return [SearchRule(s, post) for s in scores for post in allowed(named(s), postchecks)]


def by_score(table: Sequence[SearchRule]) -> dict[str, list[int]]:
    """The rows of each score: its images are sorted once for all of them."""
    found: dict[str, list[int]] = {}
    for row, rule in enumerate(table):
        found.setdefault(rule.score, []).append(row)
    return found


def usual_threads(scores: ScoreSet) -> int:
    """Threads gain more than they cost from many images on only."""
    return default_workers() if len(scores.labels) >= _MANY else 1


def frontier(
    scores: ScoreSet,
    costs: ExpectedCosts,
    table: Sequence[SearchRule],
    threads: int | None = None,
    caps: Sequence[Cap] = (),
) -> Frontier:
    """The frontier over all single models, pairs, rules and λ of these images within the caps;
    where nothing is, of the model nearest to it.

    Exact: equals what listing all operating points would give. Time grows with images × pairs ×
    rules, memory with models × images only.
    """
    alone = Points.alone(costs.alone, scores.credit.sum(axis=1))
    kept = np.flatnonzero(kept_alone(caps, len(alone)))
    if not len(kept):  # what B costs only comes on top
        return Frontier(alone.take(np.array([nearest_alone(caps)])))
    found = Frontier(alone.take(kept))
    lock = threading.Lock()

    def search(task: tuple[int, tuple[str, list[int]]]) -> None:
        a, (score, rows) = task
        for points in _better(scores, costs, found, a, score, table, rows, caps):
            with lock:
                found.add(points)

    # The cheapest first models lead: what they reach dismisses most of the rest.
    firsts = kept[np.argsort(costs.alone[kept])].tolist()
    tasks = product(firsts, by_score(table).items())
    with ThreadPoolExecutor(threads or usual_threads(scores)) as pool:
        for done in [pool.submit(search, task) for task in tasks]:
            done.result()
    return found


def _better(
    scores: ScoreSet,
    costs: ExpectedCosts,
    found: Frontier,
    a: int,
    score: str,
    table: Sequence[SearchRule],
    rows: Sequence[int],
    caps: Sequence[Cap],
) -> Iterator[Points]:
    """Points of A under this score that beat the frontier as it stands."""
    credit, by, s_a = scores.credit, named(score), scores.score(score, a)
    right_a = int(credit[a].sum())
    sweep = _Sweep(by.sign * s_a, credit.dtype)
    for b in range(len(scores.models)):
        if b == a:
            continue
        spent, most = costs.along(b, sweep.order), sent_within(caps, a, b, sweep.order)
        bar = found.bar(costs.alone[a] + spent[sweep.starts]) - right_a
        bar[sweep.starts > most] = np.iinfo(bar.dtype).max
        gained = credit[b] - credit[a]
        for row in rows:
            gain = gained
            if table[row].postcheck:
                gain = postchecked(by, gained, s_a, scores.score(score, b))
            blocks = sweep.blocks(gain, bar)
            if not len(blocks):
                continue
            k, total = sweep.ends(blocks)
            right = right_a + total
            cost = costs.alone[a] + spent[k]
            kept = np.flatnonzero((right > found.bar(cost)) & (k <= most))
            if len(kept):
                first, second, rule = (np.full(len(kept), v, np.int32) for v in (a, b, row))
                yield Points(cost[kept], right[kept], first, second, rule, k[kept])


class _Sweep:
    """Gains along the images, least sure first (`order`), in a buffer that is used again.

    From float64 [N], larger is surer, and of credits of a type. Where a tie group ends is a mask,
    which costs a tenth of the `Ordering` that only the few points on the frontier need.
    """

    def __init__(self, sure: np.ndarray, kind: np.dtype) -> None:
        n = len(sure)
        self.order = np.argsort(sure)
        values = sure[self.order]
        blocks = -(-(n + 1) // _BLOCK)
        # The tail beyond N gains nothing, so that every block is whole.
        self._ends = np.zeros(blocks * _BLOCK, bool)
        np.not_equal(values[1:], values[:-1], out=self._ends[1:n])
        self._ends[[0, n]] = True
        self.starts = np.arange(blocks) * _BLOCK
        self._gain = np.zeros((blocks, _BLOCK), kind)
        self._along = self._gain.reshape(-1)[:n]
        self._before = np.zeros(blocks + 1, np.int64)

    def blocks(self, gain: np.ndarray, bar: np.ndarray) -> np.ndarray:
        """Those that might gain more than the bar at their start: intp. A block gains no more than
        all that is gained in it, which takes two sums of blocks instead of one along all images.
        """
        np.take(gain, self.order, out=self._along, mode="clip")
        kind = sum_type(self._gain)
        self._gain.sum(axis=1, dtype=kind).cumsum(out=self._before[1:])
        most = np.maximum(self._gain, 0).sum(axis=1, dtype=kind)
        return np.flatnonzero(self._before[:-1] + most > bar)

    def ends(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(k, gain) of the tie groups that end in these blocks: intp, int64 [P], k ascending.

        Of one pair only what rises counts, for a later point costs no less.
        """
        k = (self.starts[blocks, None] + np.arange(_BLOCK)).reshape(-1)
        inside = self._gain[blocks]
        total = inside.cumsum(axis=1, dtype=np.int64) - inside + self._before[blocks, None]
        reached = np.flatnonzero(self._ends[k])
        total = total.reshape(-1)[reached]
        kept = records(total)
        return k[reached[kept]], total[kept]


def deployable(
    scores: ScoreSet, points: Points, table: Sequence[SearchRule]
) -> tuple[Cascade, ...]:
    """Each point's λ; the images are sorted once per first model and score."""
    out: list[Cascade | None] = [None] * len(points)
    sorted_by: dict[tuple[int, str], list[int]] = {}
    for i, (a, rule) in enumerate(zip(points.first.tolist(), points.rule.tolist(), strict=True)):
        if rule < 0:
            out[i] = Cascade.of((scores.models[a],))
        else:
            sorted_by.setdefault((a, table[rule].score), []).append(i)
    for (a, score), rows in sorted_by.items():
        ordering = Ordering.by(scores, score, a)
        for i in rows:
            models = (scores.models[a], scores.models[points.second[i]])
            out[i] = table[points.rule[i]].cascade(models, ordering.limit(int(points.k[i])))
    return tuple(point for point in out if point is not None)
