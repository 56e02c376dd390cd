"""What a request costs on average, by which requests B runs on: what a search compares.

Where the cost of each request is known, these are summed in A's order.

With batches of b requests B sees sub-batches of varying size. Where each request goes to B with
probability p, their size is Bin(b, p), so that B costs E[curve(Bin(b, p))]/b per request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.cascade import sums
from stages.costs.pricing import Pricer
from stages.costs.table import Prices, flat
from stages.scores import ScoreSet, is_nobody

RUNS = "runs"
# The expectation is smooth in p: between so many values of p it is linear to 1e-6.
_NODES = 4096


@dataclass(frozen=True)
class ExpectedCosts:
    """Of N requests: `alone` float64 [M], what one costs by each model; `more` float64 [M, N + 1],
    what it costs on average on top of A's cost when B, by its row, runs on k of them, whichever
    these are. An `order` int [N] is that in which they go from A to B."""

    alone: np.ndarray
    more: np.ndarray

    @staticmethod
    def linear(alone: np.ndarray, n: int) -> ExpectedCosts:
        """Where a run of B costs the same however many run together."""
        return ExpectedCosts(alone, np.outer(alone, np.arange(n + 1) / n))

    def along(self, b: int, order: np.ndarray) -> np.ndarray:
        """float64 [N + 1], ascending: what a request costs on average on top of A's cost when B
        runs on the first k."""
        return self.more[b]

    def error(self, a: int, b: int, order: np.ndarray, k: np.ndarray) -> np.ndarray:
        """float64 [K]: the standard error of a cascade's cost from the requests being a sample, as
        if one more went to B: of few that do or do not, none looks sure."""
        n, shares = len(order), k / len(order)
        return self.more[b, -1] * np.sqrt((shares * (1 - shares) + 1 / n) / n)

    def spent(self, rows: Sequence[int], stage: np.ndarray) -> np.ndarray:
        """float64 [N]: what each request costs, int [N] the last of the models that ran."""
        return np.cumsum(self.alone[rows])[stage]

    def of_bags(self, weights: np.ndarray) -> np.ndarray:
        """float64 [R, M]: `alone` in bags, int [R, N] how often each request is in one."""
        return np.broadcast_to(self.alone, (len(weights), len(self.alone)))

    def in_bag(self, order: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(costs [M, K], columns int [N + 1]): when B runs on the first k, costs[b, columns[k]] is
        what a request of the bag costs more."""
        return self.more, sums(weight[order])

    def runs(self, rows: Sequence[int]) -> np.ndarray | None:
        """float64 [J, N]: what runs of these models cost; None where these cost `alone`."""
        return None

    def of_images(self, rows: np.ndarray) -> ExpectedCosts:
        """Of some of the requests, int [n], one by one."""
        return ExpectedCosts.linear(self.alone, len(rows))


@dataclass(frozen=True)
class RequestCosts(ExpectedCosts):
    """Where it is known: `each` float64 [M, N], what each request costs by each model."""

    each: np.ndarray

    @classmethod
    def of(cls, each: np.ndarray) -> RequestCosts:
        mean = ExpectedCosts.linear(each.sum(axis=1) / each.shape[1], each.shape[1])
        return cls(mean.alone, mean.more, each)

    def along(self, b: int, order: np.ndarray) -> np.ndarray:
        return sums(self.each[b][order], np.float64) / len(order)

    def error(self, a: int, b: int, order: np.ndarray, k: np.ndarray) -> np.ndarray:
        n, first, second = len(order), self.each[a][order], self.each[b][order]
        squares = np.sum(first**2) + sums(second * (2 * first + second), np.float64)[k]
        variance = squares / n - (self.alone[a] + self.along(b, order)[k]) ** 2
        return np.sqrt((np.maximum(variance, 0.0) + self.alone[b] ** 2 / n) / n)

    def spent(self, rows: Sequence[int], stage: np.ndarray) -> np.ndarray:
        return (self.each[rows] * (np.arange(len(rows))[:, None] <= stage)).sum(axis=0)

    def of_bags(self, weights: np.ndarray) -> np.ndarray:
        return weights @ self.each.T / weights.shape[1]

    def in_bag(self, order: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(order)
        return sums((self.each * weight)[:, order], np.float64) / n, np.arange(n + 1)

    def runs(self, rows: Sequence[int]) -> np.ndarray | None:
        return self.each[rows]

    def of_images(self, rows: np.ndarray) -> ExpectedCosts:
        return RequestCosts.of(self.each[:, rows])


@dataclass(frozen=True)
class UseOfB(ExpectedCosts):
    """What is counted is whether B runs: a model alone costs nothing, and each run of B one."""

    @classmethod
    def of(cls, models: Sequence[str], n: int) -> UseOfB:
        more = np.broadcast_to(np.arange(n + 1) / n, (len(models), n + 1))
        return cls(np.zeros(len(models)), more)

    def spent(self, rows: Sequence[int], stage: np.ndarray) -> np.ndarray:
        return (stage >= 1).astype(np.float64)


def counted_runs(models: Sequence[str]) -> Prices:
    """Where nothing is known about costs: a run of any model costs 1."""
    why = "no cost of all these models is known, so the runs of any model count alike"
    each = {model: flat(1.0) for model in models if not is_nobody(model)}
    return Prices(RUNS, "model runs", None, why, each, {})


def costs_of(pricer: Pricer, scores: ScoreSet) -> ExpectedCosts:
    """What the models of `scores` cost on its images, by the pricer's kind."""
    if pricer.prices.by_request:
        return RequestCosts.of(pricer.on(scores).each)
    return _of_curves(pricer, scores.models, len(scores.labels))


def _of_curves(pricer: Pricer, models: Sequence[str], n: int) -> ExpectedCosts:
    curves = [pricer.curve(model) for model in models]
    size = min(pricer.batch_size, n)
    alone = np.array([float(curve.at(size)) / size for curve in curves])
    if size == 1:
        return ExpectedCosts.linear(alone, n)
    shares = np.arange(n + 1) / n
    nodes = shares if n <= _NODES else np.arange(_NODES + 1) / _NODES
    batches = np.stack([curve.at(np.arange(size + 1)) for curve in curves])
    expected = batches @ binomial(nodes, size).T / size
    # A larger batch that was measured cheaper is noise: more images never cost less.
    expected = np.maximum.accumulate(expected, axis=1)
    if n <= _NODES:
        return ExpectedCosts(alone, expected)
    return ExpectedCosts(alone, np.stack([np.interp(shares, nodes, row) for row in expected]))


def binomial(p: np.ndarray, n: int) -> np.ndarray:
    """P(Bin(n, p) = j) for each p float64 [P] and j = 0 … n: float64 [P, n + 1].

    >>> binomial(np.array([0.5]), 2).round(9)
    array([[0.25, 0.5 , 0.25]])
    """
    j = np.arange(n + 1)
    factorial = np.concatenate(([0.0], np.cumsum(np.log(j[1:]))))
    ways = factorial[n] - factorial - factorial[::-1]
    out = np.zeros((len(p), n + 1))
    out[p == 0, 0] = out[p == 1, n] = 1
    inside = (p > 0) & (p < 1)
    q = p[inside, None]
    out[inside] = np.exp(ways + j * np.log(q) + (n - j) * np.log1p(-q))
    return out
