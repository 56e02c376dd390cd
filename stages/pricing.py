"""What a cascade costs per request, and what it saves against a single model.

With batches of N requests A sees N images and B only those that A is not trusted with, so B runs on
small batches of varying size: exactly those are formed, in the order of the requests, and priced
from the curves over the batch size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache import InputError
from cache.errors import one_of
from stages.costs import Prices
from stages.score import ScoreSet

_Z = 1.959964  # two-sided 95 % of the normal distribution


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    half: float

    @property
    def low(self) -> float:
        return self.value - self.half

    @property
    def high(self) -> float:
        return self.value + self.half


@dataclass(frozen=True)
class Pricer:
    """Prices cascades of the models of `scores`.

    `batch_size` requests are answered at once; `preprocess` adds decoding and resizing; requests
    that arrive at `arrival_rate` per second leave the device idle in between, which costs its idle
    power (joules only). `baseline` names the model to compare with, None for the default.
    """

    scores: ScoreSet
    prices: Prices
    batch_size: int = 1
    preprocess: bool = False
    arrival_rate: float | None = None
    baseline: str | None = None

    def __post_init__(self) -> None:
        prices = self.prices
        if self.baseline is not None and self.baseline not in prices.forward:
            raise one_of("baseline", self.baseline, list(prices.forward))
        if self.preprocess and not prices.preprocess:
            raise InputError(
                f"the cost of preprocessing is not known in {prices.kind}: run `cascade profile`"
            )
        if self.arrival_rate is not None and (prices.kind != "joules" or prices.idle_w is None):
            raise InputError("--arrival-rate needs joules and idle power: run `cascade profile`")

    def request(self, a: str, b: str | None, escalated: np.ndarray) -> Estimate:
        """Cost per request; escalated bool [N], in the order of the requests."""
        curves, n = self.prices.forward, len(escalated)
        sizes = _batches(np.ones(n, bool), self.batch_size)
        total, variance = self._summed(curves[a], sizes)
        if b is not None:
            to_b = _batches(escalated, self.batch_size)
            more, spread = self._summed(curves[b], to_b)
            total, variance = total + more, variance + spread
            per_image = more / max(to_b.sum(), 1)
            share = escalated.mean()
            variance += _Z**2 * per_image**2 * n * share * (1 - share)
        if self.preprocess:
            total += n * float(self.prices.preprocess[a].at(1))
        waiting = self._waiting(a, b, escalated)
        return Estimate(total / n + waiting, float(np.sqrt(variance)) / n)

    def model(self, name: str) -> Estimate:
        """Cost per request of a model alone."""
        return self.request(name, None, np.zeros(len(self.scores.labels), bool))

    def _summed(self, curve: Any, sizes: np.ndarray) -> tuple[float, float]:
        """Total cost of the batches, and the squared half-width that measuring leaves it with."""
        total = float(curve.at(sizes).sum())
        half = float(curve.at(sizes, "high").sum() - curve.at(sizes, "low").sum()) / 2
        return total, half * half

    def _waiting(self, a: str, b: str | None, escalated: np.ndarray) -> float:
        """Idle joules per request between arrivals."""
        if self.arrival_rate is None or self.prices.idle_w is None:
            return 0.0
        busy = replace(self.prices, forward=self.prices.latency, kind="latency")
        latency = replace(self, prices=busy, arrival_rate=None, preprocess=False, baseline=None)
        seconds = latency.request(a, b, escalated).value / 1e3
        return self.prices.idle_w * max(0.0, 1 / self.arrival_rate - seconds)

    def compared(
        self, a: str, b: str, escalated: np.ndarray, correct: np.ndarray
    ) -> dict[str, Any]:
        """The flat cost fields of a cascade: its cost, the baseline's, what is saved and lost."""
        cost = self.request(a, b, escalated)
        baseline = self.baseline or self._baseline(float(correct.mean()))
        reference = self.model(baseline)
        m = self.scores.index(baseline)
        change = correct.astype(np.int8) - self.scores.correct[m]
        ratio = cost.value / reference.value
        relative = np.hypot(cost.half / cost.value, reference.half / reference.value)
        saved = Estimate(1 - ratio, float(ratio * relative))
        gained = Estimate(float(change.mean()), _Z * float(change.std()) / len(change) ** 0.5)
        return {
            **self.about(),
            "cost": cost.value,
            "cost_low": cost.low,
            "cost_high": cost.high,
            "cost_1": self.model(a).value,
            "cost_2": self.model(b).value,
            "baseline": baseline,
            "baseline_cost": reference.value,
            "baseline_accuracy": float(self.scores.accuracy[m]),
            "saved": saved.value,
            "saved_low": saved.low,
            "saved_high": saved.high,
            "accuracy_change": gained.value,
            "accuracy_change_low": gained.low,
            "accuracy_change_high": gained.high,
            "energy_j_per_request": cost.value if self.prices.kind == "joules" else None,
        }

    def about(self) -> dict[str, Any]:
        """What the costs are and why these."""
        return {
            "cost_kind": self.prices.kind,
            "cost_unit": self.prices.unit,
            "cost_device": self.prices.device,
            "cost_batch_size": self.batch_size,
            "cost_why": self.prices.why,
        }

    def _baseline(self, accuracy: float) -> str:
        """The cheapest single model at least as accurate, else the most accurate one."""
        priced = [model for model in self.scores.models if model in self.prices.forward]
        reached = {model: float(self.scores.accuracy[self.scores.index(model)]) for model in priced}
        enough = [model for model in priced if reached[model] >= accuracy]
        if enough:
            return min(enough, key=lambda model: self.model(model).value)
        return max(priced, key=reached.__getitem__)


# What a result holds where no cost at all is known.
NO_COST: dict[str, Any] = dict.fromkeys(
    (
        "cost_kind", "cost_unit", "cost_device", "cost_batch_size", "cost_why",
        "cost", "cost_low", "cost_high", "cost_1", "cost_2",
        "baseline", "baseline_cost", "baseline_accuracy", "saved", "saved_low", "saved_high",
        "accuracy_change", "accuracy_change_low", "accuracy_change_high", "energy_j_per_request",
    )
)  # fmt: skip


def _batches(chosen: np.ndarray, size: int) -> np.ndarray:
    """How many are chosen in each batch of `size` consecutive requests: int64."""
    return np.add.reduceat(chosen.astype(np.int64), np.arange(0, len(chosen), size))
