"""Chains of three models A → B → C: for every price of cost the best pair of thresholds, exactly.

B runs where A is not trusted, C where B then is not. With v_j the value of stopping at stage j
(credit_j minus price times the cost so far, of this very image where that is known), A's λ trusts
all but the k least sure by s_A, and among those k, B's λ sends a prefix of the order by s_B on to
C, worth Σ (v_C − v_B): the best prefix sum of a tree that images enter by ascending s_A.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from stages.cascade import ALWAYS, Limit, Ordering, run_stages, sums
from stages.scores import Score, is_nobody
from stages.search.prefix_tree import PrefixTree

# A point that stands out from the hull by less than this many right answers, or by less than this
# share of all credit that there is to gain or lose, is rounding.
_ROUNDING, _SHARE = 1e-6, 1e-14


@dataclass(frozen=True)
class ChainPoint:
    """One pair of thresholds.

    `limits` are A's and B's; `usage_b` and `usage_c` are shares of all images; `cost` is per image,
    and so is `accuracy`, under a loss the mean credit.
    """

    limits: tuple[Limit, Limit]
    accuracy: float
    cost: float
    usage_b: float
    usage_c: float


@dataclass(frozen=True, order=True)
class _Point:
    """`k_b` images go to B and `k_c` of them to C; `right` answers."""

    cost: float
    right: int
    k_b: int
    k_c: int


class Chain:
    """Three models on the same images at all prices. Building it and each price take O(n log n)."""

    def __init__(
        self,
        score: Score,
        scores: np.ndarray,
        credit: np.ndarray,
        costs: tuple[float, float, float],
        postcheck: bool = False,
        runs: np.ndarray | None = None,
    ) -> None:
        """From float64 [3, N] and `credit` int or bool [3, N] of the three models; `costs`, per
        run, are above 0, those of B and C times `runs` float64 [2, N] where these differ by image.

        With post-check a stage's answer replaces the one at hand only if it is strictly surer than
        that. It depends on no λ, so the search stays exact; B is still trusted by its own score.
        """
        if runs is None and min(costs) <= 0:
            raise ValueError(f"costs must be above 0, found {costs}")

        def answers(j: int, going: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return credit[j], scores[j], scores[j]

        self._n, self._costs = credit.shape[1], costs
        onward = [[(score, Limit(ALWAYS))] * stage for stage in range(3)]
        stops = [run_stages(self._n, answers, rules, postcheck) for rules in onward]
        self._first, self._second = (Ordering.of(score, scores[j]) for j in (0, 1))
        # [3, N]: what the answer is worth when the chain stops at stage j, whatever the thresholds.
        right = np.stack([prediction for _, _, prediction in stops])
        right = right.astype(np.int64)[:, self._first.order]
        self._right_a = int(right[0].sum())
        self._rounding = max(_ROUNDING, _SHARE * float(np.abs(np.diff(right, axis=0)).sum()))
        self._to_b = sums(right[1] - right[0])
        ranks = _ranks(self._second)[self._first.order]
        runs_b, runs_c = (None, None) if runs is None else runs[:, self._first.order]
        self._runs_b = np.arange(self._n + 1) if runs_b is None else sums(runs_b, np.float64)
        self._most = costs[1] * self._runs_b[-1]
        self._most += costs[2] * (self._n if runs_c is None else runs_c.sum())
        self._tree = PrefixTree(ranks, right[2] - right[1], runs_c)

    def hull(self) -> list[ChainPoint]:
        """The vertices of the upper hull of (cost, accuracy) over all thresholds, cheapest first:
        from A alone to the highest accuracy, at its least cost."""
        return [self._described(point) for point in self._hull()]

    def _best(self, price: float) -> _Point:
        """The highest right answers − price · cost; the point is exact whatever the price rounds
        to, for it is made from the integers at the optimum."""
        _, cost_b, cost_c = self._costs
        onward = np.concatenate(([0.0], self._tree.best(price * cost_c)))
        ends = self._first.ends
        value = self._to_b[ends] - price * cost_b * self._runs_b[ends] + onward[ends]
        k_b = int(ends[value.argmax()])
        k_c, gained, runs_c = self._tree.prefix_after(k_b, price * cost_c)
        right = self._right_a + int(self._to_b[k_b]) + gained
        return _Point(float(cost_b * self._runs_b[k_b] + cost_c * runs_c), right, k_b, k_c)

    def _hull(self) -> list[_Point]:
        """Between two vertices lies another exactly if the price at which both are worth the same
        has a better point."""
        cheapest = _Point(0.0, self._right_a, 0, 0)
        # So small a price decides only between equal numbers of right answers.
        richest = self._best(0.5 / self._most if self._most else 0.0)
        found, open_ = [cheapest], [(cheapest, richest)]
        while open_:
            low, high = open_.pop()
            between = self._above(low, high)
            if between is None:
                found += [high] if high.right > low.right else []
            else:
                open_ += [(between, high), (low, between)]
        return _strict(found, self._rounding)

    def _above(self, low: _Point, high: _Point) -> _Point | None:
        if high.right - low.right < 1 or high.cost <= low.cost:
            return None
        price = (high.right - low.right) / (high.cost - low.cost)
        point = self._best(price)
        return point if _excess(point, low, high) > self._rounding else None

    def _described(self, point: _Point) -> ChainPoint:
        n = self._n
        to_b = np.zeros(n, bool)
        to_b[self._first.order[: point.k_b]] = True
        return ChainPoint(
            (self._first.limit(point.k_b), self._second.subset(to_b).limit(point.k_c)),
            accuracy=point.right / n,
            cost=self._costs[0] + point.cost / n,
            usage_b=point.k_b / n,
            usage_c=point.k_c / n,
        )


def _ranks(ordering: Ordering) -> np.ndarray:
    """int64 [N]: by image, the dense rank of its score, least sure first."""
    out = np.empty(len(ordering.order), np.int64)
    groups = np.diff(ordering.ends)
    out[ordering.order] = np.repeat(np.arange(len(groups)), groups)
    return out


def _strict(points: Sequence[_Point], rounding: float) -> list[_Point]:
    """Without those on the line between their neighbours; by ascending cost."""
    out: list[_Point] = []
    for point in points:
        if out and out[-1].cost >= point.cost:  # what runs may cost nothing
            out.pop()
        while len(out) > 1 and _excess(out[-1], out[-2], point) <= rounding:
            out.pop()
        out.append(point)
    return out


def _excess(point: _Point, low: _Point, high: _Point) -> float:
    """Right answers above the line from low to high."""
    price = (high.right - low.right) / (high.cost - low.cost)
    return point.right - low.right - price * (point.cost - low.cost)


def chain_candidates(
    pairs: Iterable[tuple[str, str]], costs: Mapping[str, float], most: int = 20
) -> list[tuple[str, str, str]]:
    """Chains A → B → C worth searching, given the pairs on the frontier.

    At least two of A → B, B → C and A → C are such pairs; only C may be nobody. Those with all
    three come first, then the cheap by summed cost. A step that is not such a pair may not go to a
    cheaper model.
    """
    known = set(pairs)
    models = sorted({model for pair in known for model in pair})
    ranked = []
    for a, b, c in permutations(models, 3):
        if is_nobody(a) or is_nobody(b):
            continue
        links = sum(pair in known for pair in ((a, b), (b, c), (a, c)))
        steps = ((a, b), (b, c))
        if links >= 2 and all(step in known or costs[step[0]] <= costs[step[1]] for step in steps):
            ranked.append((-links, costs[a] + costs[b] + costs[c], (a, b, c)))
    return [chain for _, _, chain in sorted(ranked)[:most]]
