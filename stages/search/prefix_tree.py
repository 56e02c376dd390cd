"""The best prefix sum after each insertion, for any price, in O(n log n) numpy.

Items are inserted one by one into a segment tree over their ranks, a node of which knows its best
prefix sum. The insertions are known beforehand, so the whole history of a node is one array, joined
from its children's; a level of the tree is a few array operations over all items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class _Level:
    """The nodes of one level after each of their insertions, sorted by (node, time).

    Such a state joins the last states of both children: those at `left` and `right` [N] of the
    level below, where N is the empty state. The left child then holds items of `weight` and `gain`
    in all.
    """

    left: np.ndarray
    right: np.ndarray
    weight: np.ndarray
    gain: np.ndarray


class PrefixTree:
    """Items in order of insertion: `rank` int64 [N], dense from 0; `gain` int64 [N]; `weight`
    float64 [N], by default 1 each.

    Inserting an item costs the price times its weight; a prefix is all items inserted so far below
    some rank.
    """

    def __init__(
        self, rank: np.ndarray, gain: np.ndarray, weight: np.ndarray | None = None
    ) -> None:
        weight = np.ones(len(gain)) if weight is None else weight
        self._by_rank = np.argsort(rank, kind="stable")
        self._rank, self._gain = rank[self._by_rank], gain[self._by_rank]
        self._weight = weight[self._by_rank]
        nodes = _starts(self._rank)
        self._leaf_weight = _running(nodes, self._weight)
        self._leaf_gain = _running(nodes, self._gain).astype(np.float64)
        self._levels = []
        while rank.any():
            self._levels.append(_joined(rank, gain, weight))
            rank = rank >> 1

    def best(self, price: float) -> np.ndarray:
        """float64 [N]: the best prefix sum of gain − price after each insertion; the empty prefix,
        worth 0, is one."""
        n = len(self._rank)
        state, fresh, taken = np.zeros(n + 1), np.zeros(n + 1), np.empty(n)
        np.maximum(self._leaf_gain - price * self._leaf_weight, 0, out=state[:n])
        for level in self._levels:
            whole = fresh[:n]
            np.multiply(level.weight, -price, out=whole)
            whole += level.gain
            whole += state.take(level.right, out=taken, mode="clip")
            np.maximum(whole, state.take(level.left, out=taken, mode="clip"), out=whole)
            state, fresh = fresh, state
        return state[:n]

    def prefix_after(self, insertions: int, price: float) -> tuple[int, int, float]:
        """(items, their summed gain and weight) of the shortest best prefix after so many
        insertions."""
        inside = self._by_rank < insertions
        rank, gain = self._rank[inside], self._gain[inside]
        ends = np.flatnonzero(np.diff(rank, append=-1)) + 1
        total, weight = np.cumsum(gain)[ends - 1], np.cumsum(self._weight[inside])[ends - 1]
        worth = np.concatenate(([0.0], total - price * weight))
        at = int(worth.argmax()) - 1
        return (int(ends[at]), int(total[at]), float(weight[at])) if at >= 0 else (0, 0, 0.0)


def _joined(rank: np.ndarray, gain: np.ndarray, weight: np.ndarray) -> _Level:
    """The parents of the nodes `rank` int64 [N], by time of insertion."""
    n = len(rank)
    parent = rank >> 1
    times = np.argsort(parent, kind="stable")
    starts = _starts(parent[times])
    is_left = (rank[times] & 1) == 0
    lefts = _running(starts, is_left.astype(np.int64))
    rights = _running(starts, (~is_left).astype(np.int64))
    sizes = np.diff(starts, append=n)
    first = np.repeat(starts, sizes)
    middle = first + np.repeat(lefts[starts + sizes - 1], sizes)
    return _Level(
        np.where(lefts > 0, first + lefts - 1, n),
        np.where(rights > 0, middle + rights - 1, n),
        _running(starts, weight[times] * is_left),
        _running(starts, gain[times] * is_left).astype(np.float64),
    )


def _starts(groups: np.ndarray) -> np.ndarray:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.diff(groups, prepend=-1))


def _running(starts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The sums so far of [N], anew from each start."""
    total = np.cumsum(values)
    before = total[starts] - values[starts]
    return total - np.repeat(before, np.diff(starts, append=len(values)))
