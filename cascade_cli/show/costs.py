"""What a cascade costs and saves, in words and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Protocol

from cascade_cli.show.text import print_text
from stages import costs
from stages.costs import CostBasis, HeldAgainst, PairPrice, Price, budget, figure, told_in
from stages.simulate import MemoryFigures, NobodyFigures, Tail

NO_SENSOR = "no energy sensor: run `cascade doctor`"


class Priced(Protocol):
    """A row with what it costs, and the model that it is held against."""

    @property
    def price(self) -> Price: ...
    @property
    def against(self) -> HeldAgainst: ...


def show_cost(row: Priced, memory: MemoryFigures | None = None, tail: Tail = Tail()) -> None:
    """What one cascade costs and why it is counted so, what it saves and how much more accurate it
    is than the model that one would deploy alone, and what is not known."""
    price = row.price
    handing_on = getattr(row, "unanswered", NobodyFigures()).unanswered is not None
    if price.cost is not None:
        unit = str(price.cost_unit)
        why = str(price.cost_why).removeprefix(f"{unit}, ") + without_hash(memory)
        print(f"  cost per request           {cost_interval(price)} ({why})")
        if tail.over_budget is not None:
            print(f"  {'over budget':<26} {tail_text(tail, price)}")
        if isinstance(price, PairPrice):
            third = getattr(price, "cost_3", None)
            known = [each for each in (price.cost_1, price.cost_2, third) if each is not None]
            known = known[:-1] if handing_on else known  # the last is no model
            told = " and ".join(figure(each, unit) for each in known)
            names = ", ".join(f"{name} alone" for name in "ABC"[: len(known)])
            print(f"  {names:<26} {told} {told_in(unit)}")
    if handing_on and price.saved is not None:  # a fall in accuracy is no loss of what is handed on
        print(f"  {saved_text(row).rstrip(', ')}")
    elif row.against.baseline is not None and not handing_on:
        value, low, high = (100 * each for each in astuple(row.against.accuracy_change))
        print(f"  {saved_text(row)}accuracy {value:+.2f} points ({low:+.2f} to {high:+.2f})")
    if memory is not None and memory.hash_reason:
        print(f"  cost per request           unknown: {memory.hash_reason}")
    elif lacks_energy(price):
        print(f"  energy                     unknown: {NO_SENSOR}")


def tail_text(tail: Tail, price: CostBasis, style: str = ".2%") -> str:
    """Which share costs more than the budget; "" where that is not known."""
    over, most = tail.over_budget, tail.cost_budget
    if over is None or most is None:
        return ""
    value, low, high = (f"{each:{style}}" for each in astuple(over))
    return f"{value} ({low} to {high}) cost more than {budget(most, str(price.cost_unit))}"


def saved_text(row: Priced) -> str:
    """What it is held against, and what it saves or costs more, where that is known."""
    base, saved = row.against.baseline, row.price.saved
    if saved is None:
        return f"against {base}: "
    sign = 1 if saved.value >= 0 else -1
    low, high = sorted((sign * saved.low, sign * saved.high))
    told = f"{abs(saved.value):.1%} ({low:.1%} to {high:.1%}), "
    return f"saved against {base}: {told}" if sign > 0 else f"costs more than {base}: {told}"


def limit_text(threshold: float | str | None) -> str:
    """λ in six digits, which tell it from the scores around it; --json gives all."""
    return f"{threshold:.6g}" if isinstance(threshold, float) else str(threshold)


def lacks_energy(price: Price) -> bool:
    """Whether joules are unknown, and nothing else was asked for or came with the answers."""
    other = str(price.cost_why).endswith(("as asked", costs.OF_EACH_REQUEST))
    return price.energy_j_per_request is None and not other


def without_hash(memory: MemoryFigures | None) -> str:
    """Said of a cost in multiply-adds, of which a memory's hashing has none."""
    return "; without hashing" if memory is not None and memory.hash_counted is False else ""


def baseline_column(rows: Sequence[Priced]) -> dict[str, str]:
    """The column that names each row's baseline, where these differ."""
    return {"baseline": "against"} if len({row.against.baseline for row in rows}) > 1 else {}


def print_cost_note(rows: Sequence[Priced], what: str) -> None:
    """Below a table: what its costs are and why, and against what they are saved."""
    alike = not baseline_column(rows)
    named = rows[0].against.baseline if alike else "the model that its row names"
    print_text(f"{cost_note(rows[0].price)}; {what} {named}")


def cost_note(price: CostBasis) -> str:
    """What a cost is, and why that."""
    return (
        f"cost: {told_in(str(price.cost_unit))} per request ({price.cost_why}), batch size "
        f"{price.cost_batch_size}"
    )


def cost_interval(price: Price) -> str:
    """A cost with its interval and unit."""
    if price.cost is None:
        return "unknown"
    unit = str(price.cost_unit)
    found = price.cost
    return f"{costs.interval(found.value, found.low, found.high, unit)} {told_in(unit)}"


def cost_cell(price: Price) -> str | None:
    """As a table shows it, without the unit, which the note below tells."""
    return None if price.cost is None else figure(price.cost.value, str(price.cost_unit))
