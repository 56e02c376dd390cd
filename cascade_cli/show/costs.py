"""What a cascade costs and saves, in words and columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cascade_cli.show.text import print_text
from stages import costs
from stages.costs import figure, told_in

NO_SENSOR = "no energy sensor: run `cascade doctor`"


def show_cost(row: dict[str, Any]) -> None:
    """What one cascade costs and why it is counted so, what it saves and how much more accurate it
    is than the model that one would deploy alone, and what is not known."""
    if row["cost"] is not None:
        unit = row["cost_unit"]
        why = row["cost_why"].removeprefix(f"{unit}, ") + without_hash(row)
        print(f"  cost per request           {cost_interval(row)} ({why})")
        alone = " and ".join(figure(row[name], unit) for name in ("cost_1", "cost_2"))
        print(f"  A alone, B alone           {alone} {told_in(unit)}")
    if row["baseline"] is not None:
        print(f"  {saved_text(row)}accuracy {change_text(row)}")
    if row.get("hash_reason"):
        print(f"  cost per request           unknown: {row['hash_reason']}")
    elif lacks_energy(row):
        print(f"  energy                     unknown: {NO_SENSOR}")


def saved_text(row: dict[str, Any]) -> str:
    """What it is held against, and what it saves or costs more, where that is known."""
    base, value = row["baseline"], row["saved"]
    if value is None:
        return f"against {base}: "
    sign = 1 if value >= 0 else -1
    low, high = sorted(sign * row[f"saved_{end}"] for end in ("low", "high"))
    told = f"{abs(value):.1%} ({low:.1%} to {high:.1%}), "
    return f"saved against {base}: {told}" if sign > 0 else f"costs more than {base}: {told}"


def change_text(row: dict[str, Any]) -> str:
    """Of accuracy, in points, with its interval."""
    value, low, high = (100 * row[f"accuracy_change{end}"] for end in ("", "_low", "_high"))
    return f"{value:+.2f} points ({low:+.2f} to {high:+.2f})"


def limit_text(threshold: float | str | None) -> str:
    """λ in six digits, which tell it from the scores around it; --json gives all."""
    return f"{threshold:.6g}" if isinstance(threshold, float) else str(threshold)


def lacks_energy(row: dict[str, Any]) -> bool:
    """Whether joules are unknown, and nothing else was asked for."""
    other = str(row["cost_why"]).endswith("as asked")
    return row["energy_j_per_request"] is None and not other


def without_hash(row: dict[str, Any]) -> str:
    """Said of a cost in multiply-adds, of which a memory's hashing has none."""
    return "; without hashing" if row.get("hash_counted") is False else ""


def baseline_column(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The column that names each row's baseline, where these differ."""
    return {"baseline": "against"} if len({row["baseline"] for row in rows}) > 1 else {}


def baseline_text(rows: Sequence[dict[str, Any]]) -> str:
    """What all rows are held against, in words."""
    return "the model that its row names" if baseline_column(rows) else rows[0]["baseline"]


def print_cost_note(rows: Sequence[dict[str, Any]], what: str = "saved against") -> None:
    """Below a table: what its costs are and why, and against what they are saved."""
    print_text(f"{cost_note(rows[0])}; {what} {baseline_text(rows)}")


def cost_note(row: dict[str, Any]) -> str:
    """What a row's cost is, and why that."""
    return (
        f"cost: {told_in(row['cost_unit'])} per request ({row['cost_why']}), batch size "
        f"{row['cost_batch_size']}"
    )


def cost_interval(row: dict[str, Any]) -> str:
    """A row's cost with its interval and unit."""
    unit = row["cost_unit"]
    told = costs.interval(row["cost"], row["cost_low"], row["cost_high"], unit)
    return f"{told} {costs.told_in(unit)}"


def cost_cells(row: dict[str, Any]) -> dict[str, Any]:
    """The row as a table shows it, its cost without the unit, which `explain` tells."""
    cost = row["cost"]
    return row | {"cost": cost and figure(cost, row["cost_unit"])}
