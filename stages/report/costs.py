"""What the report's models and cascades cost per request: one kind of cost for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.pricing import Pricer
from stages.report.page import Cell, Number
from stages.simulate import priced, simulate
from stages.spending import RUNS
from stages.threshold import cascade_of

Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """How a kind of cost is written: `noun` in running text, `unit` on an axis, d3's formats of
    the axis and of a single figure, and for the tables a factor and its unit."""

    noun: str
    unit: str
    axis: str
    figure: str
    scale: float
    short: str


KINDS = {
    "joules": Kind("joules", "J", "~s", ".4s", 1e3, "mJ"),
    "latency": Kind("latency", "ms", ".3~g", ".4~g", 1.0, "ms"),
    "macs": Kind("multiply-adds", "multiply-adds", "~s", ".4s", 1e-6, "M"),
    RUNS: Kind("model runs", "model runs", "~g", ".4~g", 1.0, "runs"),
}


@dataclass(frozen=True)
class Costs:
    """Costs per request in the unit of the pricer's kind, None where unknown."""

    pricer: Pricer

    @property
    def kind(self) -> Kind:
        return KINDS[self.pricer.prices.kind]

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

    def alone(self, model: str) -> float | None:
        known = model in self.pricer.prices.forward
        return self.pricer.model(model).value if known else None

    def of(self, row: Row) -> float | None:
        """An operating point's, for the use of B that is expected of it."""
        a, b = row["model_1"], row["model_2"]
        if not {a, b} <= self.pricer.prices.forward.keys():
            return None
        size = self.pricer.batch_size
        to_b = simulate(self.pricer.scores, cascade_of(row)).escalated
        parts = self.pricer.bill(a, b, to_b).parts
        seen, usage = parts["forward", b].value, float(to_b.mean())
        # Cross-fitted, the expected use of B is another than at this λ.
        each = seen / usage if usage else self.pricer.prices.model(b, size)
        return parts["forward", a].value + row["expected_usage"] * each

    def compared(self, row: Row) -> Row:
        """The cost fields of an operating point against the baseline, all None where unknown."""
        cascade = cascade_of(row)
        known = {row["model_1"], row["model_2"]} <= self.pricer.prices.forward.keys()
        return priced(
            cascade, simulate(self.pricer.scores, cascade), self.pricer if known else None
        )

    def cell(self, value: float | None) -> Cell:
        return "unknown" if value is None else self.number(value)

    def number(self, value: float) -> Number:
        return Number(value, f"{significant(value * self.kind.scale)} {self.kind.short}")


def significant(value: float) -> str:
    """Four digits of it, never as a power of ten where it is large.

    >>> significant(0.105698), significant(123456.0)
    ('0.1057', '123,500')
    """
    return f"{float(f'{value:.4g}'):,.12g}"
