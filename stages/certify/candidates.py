"""Which λ of which pairs are worth testing, and in which order: safest first.

A `Sweep` is every λ of one pair and rule on the calibration images, in two int8 per image; many
sweeps can share an Ordering. Proposing looks at its own part of the images only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from stages.cascade import Ordering, sums
from stages.costs import pareto, records

# Candidates this many standard errors beyond ε are not worth testing.
_HOPELESS = 3.0


@dataclass(frozen=True)
class Sweep:
    """All λ of one pair and rule, against a reference.

    `trusted` and `escalated`, int [N]: the reference's correctness, or credit, minus the cascade's
    where A's answer stands and once B has run, by `most` at most. A request costs `cost_1`, and
    `cost_2` more where B runs: 0 of a model alone, which has no B; where it is known of each
    request, `each_2` float64 [N]. `to_reference`: once B has run the answer is the reference's;
    `is_reference`: the reference alone, which loses nothing by definition and needs no test.
    """

    ordering: Ordering
    trusted: np.ndarray
    escalated: np.ndarray
    cost_1: float
    cost_2: float
    to_reference: bool = False
    is_reference: bool = False
    each_2: np.ndarray | None = None
    most: int = 1

    @property
    def has_b(self) -> bool:
        return bool(self.cost_2) or self.each_2 is not None

    def cost(self, order: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Per request, where B runs on the first k of the images in this order."""
        n = max(len(order), 1)
        if self.each_2 is None:
            return self.cost_1 + k / n * self.cost_2
        return self.cost_1 + sums(self.each_2[order], np.float64)[k] / n

    def sent(self, cuts: np.ndarray) -> np.ndarray:
        """int64 [C]: on how many of all images B runs, at λ as in `Candidates.cuts`."""
        return self.ordering.escalated_by(cuts)

    def differences(self, cut: float) -> np.ndarray:
        """int [N]: the reference's correctness, or credit, minus the cascade's at this λ."""
        to_b = self.ordering.order[: int(self.ordering.escalated_by(np.array(cut)))]
        out = self.trusted.copy()
        out[to_b] = self.escalated[to_b]
        return out

    def usage_cap(self, usage: float | None, cost: float | None) -> float:
        """The most use of B within these caps: below 0 where A alone costs more, 1 is no cap."""
        by_cost = 1.0
        if cost is not None:
            spare = cost - self.cost_1
            by_cost = spare / self.cost_2 if self.cost_2 else math.copysign(1.0, spare)
        return min(1.0 if usage is None or not self.has_b else usage, by_cost)


@dataclass(frozen=True)
class Candidates:
    """λ of several sweeps: `sweep` intp [C]; `cuts` float64 [C], λ on the axis where larger is
    surer (±∞: B always, never runs); and as estimated on the proposing part, float64 [C] each,
    `usage` of B, `cost`, and the shares `lost` and `won` of the images that the reference alone and
    the cascade alone gets right, or what is lost and won of all that there could be."""

    sweep: np.ndarray
    cuts: np.ndarray
    usage: np.ndarray
    cost: np.ndarray
    lost: np.ndarray
    won: np.ndarray

    def __len__(self) -> int:
        return len(self.sweep)

    def take(self, rows: np.ndarray) -> Candidates:
        return Candidates(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        names = cls.__dataclass_fields__
        empty = cls(np.zeros(0, np.intp), *np.zeros((len(names) - 1, 0)))
        return cls(*(np.concatenate([getattr(p, n) for p in (empty, *parts)]) for n in names))


Side = Callable[[np.ndarray], np.ndarray]


def lost(difference: np.ndarray) -> np.ndarray:
    """int: 1 where the reference alone is right, or how much more credit it has."""
    return np.maximum(difference, 0)


def won(difference: np.ndarray) -> np.ndarray:
    """int: 1 where the cascade alone is right, or how much more credit it has."""
    return np.maximum(-difference, 0)


@dataclass(frozen=True)
class ImageSubset:
    """Some of the images, `keep` bool [N]: orderings that sweeps share are cut once."""

    keep: np.ndarray
    _cut: dict[int, Ordering] = field(default_factory=dict)

    def ordering(self, sweep: Sweep) -> Ordering:
        key = id(sweep.ordering)
        if key not in self._cut:
            self._cut[key] = sweep.ordering.subset(self.keep)
        return self._cut[key]

    def totals(self, sweep: Sweep, side: Side) -> np.ndarray:
        """int64 [n + 1]: the sum of a side when the k least sure of these images go to B."""
        order = self.ordering(sweep).order
        before, after = side(sweep.trusted[order]), side(sweep.escalated[order])
        return before.sum() + sums(after - before)


def propose(
    sweeps: Sequence[Sweep],
    part: ImageSubset,
    slack: Callable[[Candidates], np.ndarray],
    most: int,
    below: float = math.inf,
) -> Candidates:
    """At most `most` candidates that cost less than `below`, in testing order: from the Pareto
    front of cost and lost images of all sweeps but the reference alone.

    The front alone jumps from one lost image to the next, and its safest point is the luckiest; so
    between two of its points the costlier λ of the same sweep are stepping stones, and beyond its
    end those of a sweep that leads to the reference. `slack` (candidates → float64) is the distance
    from the limits in standard errors; largest first.
    """
    curves = [
        _curve(s, sweep, part, below) for s, sweep in enumerate(sweeps) if not sweep.is_reference
    ]
    front = _to_the_reference(sweeps, curves, _front(curves))
    found = Candidates.joined(list(_stones(curves, front)))
    spare = slack(found)
    hopeful = np.flatnonzero(spare >= min(-_HOPELESS, spare.max(initial=-np.inf)))
    order = hopeful[np.lexsort((-found.cost[hopeful], -spare[hopeful]))]
    chosen = np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(np.intp)
    return found.take(order[chosen])


def _curve(s: int, sweep: Sweep, part: ImageSubset, below: float) -> Candidates:
    """Every λ of a sweep that costs less than `below`, cheapest first."""
    ordering = part.ordering(sweep)
    n = max(len(ordering.order), 1)
    ends = ordering.ends if sweep.has_b else ordering.ends[:1]
    cost = sweep.cost(ordering.order, ends)
    cost, ends = cost[cost < below], ends[cost < below]
    shares = [part.totals(sweep, side)[ends] / (n * sweep.most) for side in (lost, won)]
    return Candidates(np.full(len(ends), s), ordering.cuts(ends), ends / n, cost, *shares)


def _front(curves: Sequence[Candidates]) -> Candidates:
    """What nothing else beats, cheapest first."""
    points = Candidates.joined([c.take(records(-c.lost)) for c in curves])
    return points.take(pareto(points.cost, -points.lost))


def _to_the_reference(
    sweeps: Sequence[Sweep], curves: Sequence[Candidates], front: Candidates
) -> Candidates:
    """The front and, where its last sweep does not lead to the reference, the cheapest λ that loses
    no more of one that does."""
    if not len(front) or sweeps[front.sweep[-1]].to_reference:
        return front
    within = [c.take(np.flatnonzero(c.lost <= front.lost[-1])[:1]) for c in curves]
    more = Candidates.joined([c for c in within if len(c) and sweeps[c.sweep[0]].to_reference])
    return Candidates.joined([front, more.take(np.argsort(more.cost, kind="stable")[:1])])


def _stones(curves: Sequence[Candidates], front: Candidates) -> Iterator[Candidates]:
    """Each point of the front, and its sweep's λ that cost more than it and less than the next
    costlier point of the front, unless they lose more."""
    next_cost = np.append(front.cost[1:], np.inf)
    for curve in curves:
        mine = np.isin(front.sweep, curve.sweep[:1])
        if mine.any():
            owner = np.searchsorted(front.cost[mine], curve.cost, side="right") - 1
            inside = (owner >= 0) & (curve.cost < next_cost[mine][owner])
            inside &= curve.lost <= front.lost[mine][owner]
            yield curve.take(np.flatnonzero(inside))
