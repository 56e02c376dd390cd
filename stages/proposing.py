"""Which λ of which pairs are worth testing, and in which order: safest first.

A `Sweep` is every λ of one pair and rule on the calibration images, in two int8 per image; many
sweeps can share an Ordering. Proposing looks at its own part of the images only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stages.sweep import Ordering

# Candidates this many standard errors beyond ε are not worth testing.
_HOPELESS = 3.0


def cuts_at(ordering: Ordering, ends: np.ndarray) -> np.ndarray:
    """λ on the axis where larger is surer that send exactly the `ends` least sure to B: float64,
    the middle of two scores, ±∞ where B always or never runs."""
    keys = ordering.score.sign * ordering.values
    edges = np.concatenate(([-np.inf], keys, [np.inf]))
    less, surer = edges[ends], edges[ends + 1]
    middle = (less + surer) / 2
    return np.where((middle == less) & (ends > 0), surer, middle)


def sent(ordering: Ordering, cuts: np.ndarray) -> np.ndarray:
    """How many images each such λ sends to B: float64 [C] → intp [C]."""
    return ordering.escalated_by(ordering.score.sign * cuts)


@dataclass(frozen=True)
class Sweep:
    """All λ of one pair and rule, against a reference.

    `trusted` and `escalated`, int8 [N]: the reference's correctness minus the cascade's where A's
    answer stands and once B has run. A request costs `cost_1`, and `cost_2` more where B runs: 0
    of a model alone, which has no B. Where a request costs `lossless` the reference has the last
    word on every image; ∞ where it never has.
    """

    ordering: Ordering
    trusted: np.ndarray
    escalated: np.ndarray
    cost_1: float = 0.0
    cost_2: float = 1.0
    lossless: float = math.inf

    @classmethod
    def of(
        cls,
        ordering: Ordering,
        correct_1: np.ndarray,
        correct_final: np.ndarray,
        reference: np.ndarray,
        costs: tuple[float, float] = (0.0, 1.0),
        lossless: float = math.inf,
    ) -> Sweep:
        """From bool [N] each; `correct_final` is that of the answer once B has run."""
        wanted = reference.astype(np.int8)
        return cls(ordering, wanted - correct_1, wanted - correct_final, *costs, lossless)

    def cost(self, usage: np.ndarray) -> np.ndarray:
        """Per request, at these shares of images that B runs on."""
        return self.cost_1 + usage * self.cost_2

    def usage(self, cuts: np.ndarray) -> np.ndarray:
        """float64 [C]: the share of all images that B runs on, at λ as in `Candidates.cuts`."""
        return sent(self.ordering, cuts) / len(self.trusted)

    def differences(self, cut: float) -> np.ndarray:
        """int8 [N]: the reference's correctness minus the cascade's at this λ."""
        to_b = self.ordering.order[: int(sent(self.ordering, np.array([cut]))[0])]
        out = self.trusted.copy()
        out[to_b] = self.escalated[to_b]
        return out

    def usage_cap(self, usage: float | None, cost: float | None) -> float:
        """The most use of B within these caps: below 0 where A alone costs more, 1 is no cap."""
        by_cost = 1.0
        if cost is not None:
            spare = cost - self.cost_1
            by_cost = spare / self.cost_2 if self.cost_2 else math.copysign(1.0, spare)
        return min(1.0 if usage is None or not self.cost_2 else usage, by_cost)


@dataclass(frozen=True)
class Candidates:
    """In testing order: `sweep` intp [C]; `cuts` float64 [C], λ on the axis where larger is surer
    (±∞: B always, never runs); and as estimated on the proposing part, `usage` and `risk` [C]."""

    sweep: np.ndarray
    cuts: np.ndarray
    usage: np.ndarray
    risk: np.ndarray

    def __len__(self) -> int:
        return len(self.sweep)

    def take(self, rows: np.ndarray) -> Candidates:
        return Candidates(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


Loss = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Part:
    """Some of the images: orderings that sweeps share are cut once."""

    keep: np.ndarray
    _cut: dict[int, Ordering]

    @classmethod
    def of(cls, keep: np.ndarray) -> Part:
        """`keep` bool [N]."""
        return cls(keep, {})

    def ordering(self, sweep: Sweep) -> Ordering:
        key = id(sweep.ordering)
        if key not in self._cut:
            self._cut[key] = sweep.ordering.subset(self.keep)
        return self._cut[key]

    def totals(self, sweep: Sweep, loss: Loss) -> np.ndarray:
        """int64 [n + 1]: the summed loss when the k least sure of these images go to B."""
        order = self.ordering(sweep).order
        before, after = loss(sweep.trusted[order]), loss(sweep.escalated[order])
        total = np.empty(len(order) + 1, np.int64)
        total[0] = before.sum()
        np.cumsum(after - before, dtype=np.int64, out=total[1:])
        total[1:] += total[0]
        return total


def propose(
    sweeps: Sequence[Sweep],
    part: Part,
    loss: Loss,
    slack: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    most: int,
) -> Candidates:
    """At most `most` candidates from the Pareto front of cost and estimated risk of all sweeps.

    The front alone jumps from one lost image to the next, and its safest point is the luckiest; so
    between two of its points the costlier λ of the same sweep are stepping stones, and beyond its
    end those that lead to the reference itself. `slack` (sweep, usage, risk) → float64 is the
    distance from the limits in standard errors; largest first.
    """
    front = _to_the_reference(sweeps, part, loss, _front(sweeps, part, loss))
    found = _joined(list(_stones(sweeps, part, loss, front)))
    spare = slack(found.sweep, found.usage, found.risk)
    cost = np.array([sweeps[s].cost(u) for s, u in zip(found.sweep, found.usage, strict=True)])
    hopeful = np.flatnonzero(spare >= min(-_HOPELESS, spare.max()))
    order = hopeful[np.lexsort((-cost[hopeful], -spare[hopeful]))]
    chosen = np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(np.intp)
    return found.take(order[chosen])


def _points(sweep: Sweep, part: Part, loss: Loss) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(cost, risk, ends) of every λ, cheapest first."""
    ordering = part.ordering(sweep)
    n = max(len(ordering.order), 1)
    ends = ordering.ends if sweep.cost_2 else ordering.ends[:1]
    return sweep.cost(ends / n), part.totals(sweep, loss)[ends] / n, ends


def _falling(risk: np.ndarray) -> np.ndarray:
    """Where the risk is below that of everything before."""
    least = np.minimum.accumulate(risk)
    return np.flatnonzero(np.concatenate(([True], risk[1:] < least[:-1])))


def _front(sweeps: Sequence[Sweep], part: Part, loss: Loss) -> np.ndarray:
    """float64 [F, 3]: (cost, risk, sweep) of what nothing else beats, cheapest first."""
    kept = []
    for s, sweep in enumerate(sweeps):
        cost, risk, _ = _points(sweep, part, loss)
        rows = _falling(risk)
        kept.append(np.column_stack((cost[rows], risk[rows], np.full(len(rows), float(s)))))
    points = np.concatenate(kept)
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    return points[_falling(points[:, 1])]


def _to_the_reference(
    sweeps: Sequence[Sweep], part: Part, loss: Loss, front: np.ndarray
) -> np.ndarray:
    """The front, then what looks as safe and costs more, until nothing can be lost: the cheapest of
    the sweeps that end there, and the cheapest of their ends."""
    ending = [s for s, sweep in enumerate(sweeps) if sweep.lossless < math.inf]
    cost, risk, last = front[-1]
    if not ending or cost >= sweeps[int(last)].lossless:
        return front
    more = [min(_first_within(sweeps[s], part, loss, max(risk, 0.0), s) for s in ending)]
    more += [min((sweeps[s].lossless, 0.0, float(s)) for s in ending)]
    return np.array([*front, *more[int(last) in ending :]])


def _first_within(
    sweep: Sweep, part: Part, loss: Loss, most: float, s: int
) -> tuple[float, float, float]:
    """A row of `_front`: the cheapest λ of a sweep that has one with at most this risk."""
    cost, risk, _ = _points(sweep, part, loss)
    row = int((risk <= most).argmax())
    return float(cost[row]), float(risk[row]), float(s)


def _stones(
    sweeps: Sequence[Sweep], part: Part, loss: Loss, front: np.ndarray
) -> Iterator[Candidates]:
    """Each point of the front, and its sweep's λ that cost more than it and less than the next
    costlier point of the front, unless they look riskier."""
    next_cost = np.append(front[1:, 0], np.inf)
    for s in np.unique(front[:, 2]).astype(int):
        cost, risk, ends = _points(sweeps[s], part, loss)
        ordering = part.ordering(sweeps[s])
        mine = front[:, 2] == s
        low, high = front[mine, 0], next_cost[mine]
        owner = np.searchsorted(low, cost, side="right") - 1
        inside = (owner >= 0) & (cost < high[owner]) & (risk <= front[mine, 1][owner])
        inside &= cost <= sweeps[s].lossless
        rows = np.flatnonzero(inside)
        yield Candidates(
            np.full(len(rows), s),
            cuts_at(ordering, ends[rows]),
            ends[rows] / max(len(ordering.order), 1),
            risk[rows],
        )


def _joined(parts: Sequence[Candidates]) -> Candidates:
    names = Candidates.__dataclass_fields__
    return Candidates(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
