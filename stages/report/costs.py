"""What the report's models and cascades cost per request: one kind of cost for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from stages.costs import RUNS, Pricer, figures
from stages.report.page import Number

Steps = tuple[tuple[float, str], ...]
_COUNTED: Steps = ((1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, ""))


@dataclass(frozen=True)
class CostKind:
    """How a kind of cost is written: `noun` in running text, `unit` on an axis, d3's formats of
    the axis and of a single figure; for the page's script, as `amounts` tells it, the unit `short`
    that stands behind a number, and in which `steps` that is told."""

    noun: str
    unit: str
    axis: str
    figure: str
    short: str
    steps: Steps = ((1.0, ""),)


KINDS = {
    "joules": CostKind("joules", "J", "~s", ".4s", " mJ", ((1e-3, ""),)),
    "latency": CostKind("latency", "ms", ".3~g", ".4~g", " ms"),
    "macs": CostKind("multiply-adds", "multiply-adds", "~s", ".4s", "", _COUNTED),
    RUNS: CostKind("model runs", "model runs", "~g", ".4~g", " runs"),
}


@dataclass(frozen=True)
class PageCosts:
    """Costs per request, in the unit of the pricer's kind."""

    pricer: Pricer

    @property
    def kind(self) -> CostKind:
        kind = self.pricer.prices.kind
        return KINDS.get(kind, CostKind(kind, kind, ".3~g", ".4~g", f" {kind}"))

    @property
    def where(self) -> str:
        """The device, and how many requests it answers at once."""
        device = self.pricer.prices.device
        return "" if device is None else f" on {device}, batch size {self.pricer.batch_size}"

    @property
    def axis(self) -> str:
        return f"{self.kind.unit} per request{self.where}"

    @property
    def why(self) -> str:
        """In a sentence, what is counted and why that."""
        why = self.pricer.prices.why
        if self.pricer.prices.kind == RUNS:
            return f"{why[0].upper()}{why[1:]}."
        batch = f", batch size {self.pricer.batch_size}" * bool(self.where)
        return f"The cost is {why}{batch}."

    def alone(self, model: str) -> float:
        return self.pricer.model(model).value

    def number(self, value: float) -> Number:
        return self.numbers(value)[0]

    def numbers(self, value: float, *others: float) -> list[Number]:
        """A cost and others beside it, in as many decimals as it."""
        told = figures(self.pricer.prices.unit, value, *others)
        return [
            Number(each, f"{text}{self.kind.short}")
            for each, text in zip((value, *others), told, strict=True)
        ]
