"""What a request costs on average, by how many requests B runs on: what a search compares.

With batches of b requests B sees sub-batches of varying size. Where each request goes to B with
probability p, their size is Bin(b, p), so that B costs E[curve(Bin(b, p))]/b per request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.costs.pricing import Pricer
from stages.costs.table import Prices, flat

RUNS = "runs"
# The expectation is smooth in p: between so many values of p it is linear to 1e-6.
_NODES = 4096


@dataclass(frozen=True)
class ExpectedCosts:
    """`alone` float64 [M], of a request by each model; `more` float64 [M, N + 1], what a request
    costs on average on top of A's cost when B, by its row, runs on k of N requests."""

    alone: np.ndarray
    more: np.ndarray

    @classmethod
    def linear(cls, alone: np.ndarray, n: int) -> ExpectedCosts:
        """Where a run of B costs the same however many run together."""
        return cls(alone, np.outer(alone, np.arange(n + 1) / n))


def counted_runs(models: Sequence[str]) -> Prices:
    """Where nothing is known about costs: a run of any model costs 1."""
    why = "no cost of all these models is known, so the runs of any model count alike"
    return Prices(RUNS, "model runs", None, why, dict.fromkeys(models, flat(1.0)), {})


def costs_of(pricer: Pricer, models: Sequence[str], n: int) -> ExpectedCosts:
    """What the models cost on average on n requests, of which B runs on 0 to n."""
    curves = [pricer.prices.forward[model] for model in models]
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
