"""What a cascade costs per request, and what it saves against a single model.

With batches of N requests A sees N images and B only those that A is not trusted with, so B runs on
small batches of varying size: exactly those are formed, in the order of the requests, and priced
from the curves over the batch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from cache import InputError, one_of
from stages.costs.table import MEASURED, Curve, Prices, flat
from stages.results import Row
from stages.scores import ScoreSet, is_nobody, with_nobody, without_nobody
from stages.statistics import NORMAL, Interval


@dataclass(frozen=True)
class Bill:
    """Per request: `parts` by (component, model), whose half-widths are those of measuring, and
    `spent` float64 [N], what differs between requests."""

    parts: dict[tuple[str, str], Interval]
    spent: np.ndarray

    @cached_property
    def drawn(self) -> float:
        """The half-width that comes from the requests being a sample."""
        return _drawn(self.spent)

    @cached_property
    def total(self) -> Interval:
        value = sum(part.value for part in self.parts.values())
        return Interval.around(value, float(np.hypot(self.measured, self.drawn)))

    @property
    def measured(self) -> float:
        """The half-width of the total that comes from measuring."""
        return float(np.linalg.norm([part.half for part in self.parts.values()]))

    def saved(self, reference: Bill) -> Interval:
        """The share of the reference's cost that is saved.

        Errors of parts that both share, as when the reference is one of the cascade's models, are
        the same error and largely cancel, as do those of requests that cost much by both: to first
        order, the error of C/R is (Σ δ − C/R δ')/R.
        """
        other, none = reference.total.value, Interval.around(0.0, 0.0)
        ratio = self.total.value / other
        errors = [
            self.parts.get(part, none).half - ratio * reference.parts.get(part, none).half
            for part in self.parts | reference.parts
        ]
        errors.append(_drawn(self.spent - ratio * reference.spent))
        return Interval.around(1 - ratio, float(np.linalg.norm(errors)) / other)


@dataclass(frozen=True, kw_only=True)
class CostBasis(Row):
    """What the costs of a row are and why these; null where none is known."""

    cost_kind: str | None = None
    cost_unit: str | None = None
    cost_device: str | None = None
    cost_batch_size: int | None = None
    cost_preprocess: bool | None = None
    cost_arrival_rate: float | None = None
    cost_why: str | None = None


@dataclass(frozen=True, kw_only=True)
class Price(CostBasis):
    """Of a request, its baseline's, and the share of that which is saved."""

    cost: Interval | None = None
    baseline_cost: float | None = None
    saved: Interval | None = None
    energy_j_per_request: float | None = None

    @property
    def known(self) -> Interval:
        """The cost; ValueError where it is not known."""
        if self.cost is None:
            raise ValueError("no cost is known")
        return self.cost


@dataclass(frozen=True, kw_only=True)
class PairPrice(Price):
    """With what each model costs alone."""

    cost_1: float | None = None
    cost_2: float | None = None


@dataclass(frozen=True, kw_only=True)
class StagePrice(PairPrice):
    """With what the third stage of a chain costs alone; of a committee its members cost
    `cost_1` together."""

    cost_3: float | None = None


UNPRICED = PairPrice()


@dataclass(frozen=True)
class HeldAgainst(Row):
    """The model that one would deploy alone, its accuracy, and the change against it."""

    baseline: str | None
    baseline_accuracy: float
    accuracy_change: Interval


@dataclass(frozen=True)
class Pricer:
    """Prices cascades of the models of `scores`.

    `batch_size` requests are answered at once; `preprocess` adds decoding and resizing; requests
    that arrive at `arrival_rate` per second leave the device idle in between, which costs its idle
    power (joules only). `baseline` names the model to compare with, where one was asked for, and
    `budget`, in the prices' unit, what a request should cost at most. With a memory each request
    costs `hash_cost`, takes `hash_ms`, and the hits cost nothing else; where that is not known,
    `hash_reason` says why, and a cascade's cost is unknown, except in multiply-adds and named
    units, which hashing has none of. Where the prices are of each request, they are those of the
    images of `scores`, in this order, as must be what is billed. A last stage that is nobody's
    costs what `scores` say of it: nothing, or a person's price.
    """

    scores: ScoreSet
    prices: Prices
    batch_size: int = 1
    preprocess: bool = False
    arrival_rate: float | None = None
    baseline: str | None = None
    budget: float | None = None
    hash_cost: float | None = None
    hash_reason: str | None = None
    hash_ms: float | None = None
    _tables: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _bills: dict[str, Bill] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        prices = self.prices
        arriving = self.arrival_rate is not None
        if prices.by_request and (self.batch_size > 1 or self.preprocess or arriving):
            raise InputError(
                f"{prices.kind} of each request are known as they were, without batches: leave out "
                "--batch-size, --with-preprocess and --arrival-rate, or name a --cost-device"
            )
        if self.preprocess and not prices.preprocess:
            raise InputError(
                f"the cost of preprocessing is not known in {prices.kind}: run `cascade profile`, "
                "or leave out --with-preprocess"
            )
        if arriving and (prices.kind != "joules" or prices.idle_w is None):
            raise InputError("--arrival-rate needs joules and idle power: run `cascade profile`")
        if self.baseline is not None and self.baseline not in self._priced:
            raise one_of("baseline", self.baseline, self._priced)
        last = self.scores.nobody
        if last is not None and last.kind not in (None, prices.kind):
            raise InputError(
                f"the price of {last.name} is known in {last.kind}, not in {prices.kind}: give "
                f"--cost {last.kind}"
            )

    @property
    def compared_with(self) -> np.ndarray | None:
        """The baseline that was asked for, as `ScoreSet.baseline`; None where none was."""
        if self.baseline is None:
            return None
        return self.scores.baseline(self.scores.index(self.baseline))

    def on(self, scores: ScoreSet) -> Pricer:
        """For the requests of another set of the same models; a last stage that is no model costs
        what it does here."""
        own = self.scores.nobody
        if own is not None and scores.nobody is not None and own != scores.nobody:
            scores = with_nobody(scores, own)
        return replace(self, scores=scores, baseline=None)

    @cached_property
    def each(self) -> np.ndarray:
        """float64 [M, N]: what each request costs, where that is known; NaN for other models.

        Rounded down by 2^-52 of what all requests may cost at most: so sums are exact in any order,
        equal ones compare equal, and a mean of what costs a budget is within it.
        """
        each = self.scores.request_costs[self.prices.kind]
        step = np.ldexp(1.0, np.frexp(np.nanmax(each) * each.shape[1])[1] - 52)
        return np.floor(each / step) * step

    def request(
        self, models: Sequence[str], stage: np.ndarray, remembered: bool = False
    ) -> Interval:
        """Cost per request, as `bill`."""
        return self.bill(models, stage, remembered).total

    def model(self, name: str) -> Interval:
        """Cost per request of a model alone."""
        return self._alone(name).total

    def bill(self, models: Sequence[str], stage: np.ndarray, remembered: bool = False) -> Bill:
        """What a request costs, part by part; in the order of the requests `stage` int [N], the
        last of `models` that ran, −1 where a memory answered. Where requests are `remembered` each
        is hashed; that is no part of the cost where unknown."""
        ran = stage >= np.arange(len(models))[:, None]
        bill = self.summed(models, ran) if self.prices.by_request else self._alike(models, ran)
        parts = bill.parts
        if self.preprocess:
            curve = _of(models[0], self.prices.preprocess, "preprocessing")
            parts["preprocess", models[0]] = _summed(by_size(curve, 1), np.array([0, 1]))
        if remembered and self.hash_cost is not None:
            parts["hash", ""] = Interval.around(self.hash_cost, 0.0)
        if self.arrival_rate is not None:
            parts["waiting", ""] = Interval.around(self._waiting(models, stage, remembered), 0.0)
        return bill

    def summed(self, models: Sequence[str], ran: np.ndarray) -> Bill:
        """Where each request's cost is known: how often each model ran on each, [J, N]."""
        spent = ran * self.each[[self.scores.index(model) for model in models]]
        means = [Interval.around(float(mean), 0.0) for mean in spent.mean(axis=1)]
        parts = {("forward", model): mean for model, mean in zip(models, means, strict=True)}
        return Bill(parts, spent.sum(axis=0))

    def _alike(self, models: Sequence[str], rans: np.ndarray) -> Bill:
        """By curves: on which requests each model ran, bool [J, N]."""
        n = rans.shape[1]
        parts, later = {}, np.zeros(n)
        for j, (model, ran) in enumerate(zip(models, rans, strict=True)):
            total = self._forward(model, ran)
            parts["forward", model] = Interval.around(total.value / n, total.half / n)
            later += ran * (total.value / max(int(ran.sum()), 1) * (j > 0))
        return Bill(parts, later)

    def _waiting(self, models: Sequence[str], stage: np.ndarray, remembered: bool) -> float:
        """Idle joules per request between arrivals; none where the device is never done."""
        busy, idle_w, rate = self.prices.busy, self.prices.idle_w, self.arrival_rate
        if busy is None or idle_w is None or rate is None:
            raise ValueError("an arrival rate needs latencies and idle power")
        models = [name for name in models if not is_nobody(name)]  # a person keeps no device busy
        for name in models:
            _of(name, busy.forward, "latency")
        how = (self.batch_size, self.preprocess)
        latency = Pricer(without_nobody(self.scores), busy, *how, hash_cost=self.hash_ms)
        seconds = latency.request(models, stage, remembered).value / 1e3
        return idle_w * max(0.0, 1 / rate - seconds)

    def compared(
        self,
        models: Sequence[str],
        stage: np.ndarray,
        baseline: str,
        remembered: bool = False,
    ) -> PairPrice:
        """Of a pair: as `against`, and what those that always run, and the last, cost alone."""
        *first, last = (self.model(name).value for name in models)
        told = self.against(self.bill_if_known(models, stage, remembered), baseline)
        return PairPrice(**vars(told), cost_1=sum(first), cost_2=last)

    def of_stages(
        self,
        stages: Sequence[Sequence[str]],
        ran: np.ndarray,
        baseline: str,
        remembered: bool = False,
    ) -> StagePrice:
        """The same of up to three stages, each of models that run together, where `ran` int [N] is
        the last of all models that did."""
        models = [name for stage in stages for name in stage]
        told = self.against(self.bill_if_known(models, ran, remembered), baseline)
        alone = (sum(self.model(name).value for name in stage) for stage in stages)
        cost_1, cost_2, cost_3, *_ = (*alone, None, None)
        return StagePrice(**vars(told), cost_1=cost_1, cost_2=cost_2, cost_3=cost_3)

    def bill_if_known(
        self, models: Sequence[str], ran: np.ndarray, remembered: bool
    ) -> Bill | None:
        """As `bill`; None where hashing costs what is not known."""
        unknown = remembered and self.hash_cost is None and self.prices.kind in MEASURED
        return None if unknown else self.bill(models, ran, remembered)

    def against(self, bill: Bill | None, baseline: str) -> Price:
        """Its cost, None where unknown, the baseline's, and what is saved."""
        joules = self.prices.kind == "joules"
        reference = self._alone(baseline)
        free = not reference.total.value
        return Price(
            **vars(self.about()),
            cost=None if bill is None else bill.total,
            baseline_cost=reference.total.value,
            saved=None if bill is None or free else bill.saved(reference),
            energy_j_per_request=bill.total.value if bill and joules else None,
        )

    def about(self) -> CostBasis:
        return CostBasis(
            cost_kind=self.prices.kind,
            cost_unit=self.prices.unit,
            cost_device=self.prices.device,
            cost_batch_size=self.batch_size,
            cost_preprocess=self.preprocess,
            cost_arrival_rate=self.arrival_rate,
            cost_why=self.prices.why,
        )

    def curve(self, model: str) -> Curve:
        """Of a batch by its size; KeyError where none is known."""
        last = self.scores.nobody
        if last is not None and model == last.name:
            return flat(last.price)
        return self.prices.forward[model]

    def _forward(self, model: str, chosen: np.ndarray) -> Interval:
        """What a model costs in all on the requests where bool [N] holds."""
        key = model, min(self.batch_size, len(chosen))
        if key not in self._tables:
            self._tables[key] = by_size(self.curve(model), key[1])
        return _summed(self._tables[key], batches(chosen, key[1]))

    @cached_property
    def _priced(self) -> list[str]:
        """The models all of whose costs that are asked for are known."""
        prices = self.prices
        known = set(prices.forward)
        if self.preprocess:
            known &= prices.preprocess.keys()
        if self.arrival_rate is not None and prices.busy is not None:
            known &= prices.busy.forward.keys()
        return [model for model in self.scores.models_that_run if model in known]

    def _alone(self, name: str) -> Bill:
        if name not in self._bills:
            self._bills[name] = self.bill((name,), np.zeros(len(self.scores.labels), np.int8))
        return self._bills[name]


def expected(
    cost_1: float | None, cost_2: float | None, usage: float, missed: float = 1.0
) -> float | None:
    """Cost per request: A runs unless a memory answers, B on its share; unknown if either is."""
    if cost_1 is None or cost_2 is None:
        return None
    return missed * cost_1 + usage * cost_2


def held_against(scores: ScoreSet, baseline: str, change: Interval) -> HeldAgainst:
    """The model that one would deploy alone, and the `change` of accuracy against it."""
    return HeldAgainst(baseline, float(scores.accuracy[scores.index(baseline)]), change)


def asked(pricer: Pricer | None) -> dict[str, object] | None:
    """What tells a question about costs from others, for the request of a result."""
    if pricer is None:
        return None
    budget = {} if pricer.budget is None else {"budget": pricer.budget}
    return pricer.about().columns() | {"baseline": pricer.baseline} | budget


def _drawn(spent: np.ndarray) -> float:
    """The half-width of the mean of float64 [N]."""
    return NORMAL * float(spent.std()) / len(spent) ** 0.5


def batches(chosen: np.ndarray, size: int) -> np.ndarray:
    """How many batches of `size` consecutive requests hold k chosen ones: int64 [k]."""
    if size == 1:
        return np.array([0, np.count_nonzero(chosen)])
    held = np.add.reduceat(chosen.astype(np.int64), np.arange(0, len(chosen), size))
    return np.bincount(held)


def by_size(curve: Curve, largest: int) -> np.ndarray:
    """The cost of batches of 0 to `largest` images: float64 [3, largest + 1], value, low, high."""
    sizes = np.arange(largest + 1)
    return np.stack([curve.at(sizes, bound) for bound in ("values", "low", "high")])


def _summed(costs: np.ndarray, counts: np.ndarray) -> Interval:
    """Total cost of counts[k] batches of k images; measuring errs alike at all sizes."""
    value, low, high = (costs[:, : len(counts)] @ counts).tolist()
    return Interval.around(value, (high - low) / 2)


def _of(model: str, curves: dict[str, Curve], what: str) -> Curve:
    if model not in curves:
        raise InputError(f"the {what} of {model} is not known there: run `cascade profile`")
    return curves[model]
