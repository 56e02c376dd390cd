"""What a profile predicts of cascades beside what was measured, and whether targets are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import hypot
from typing import Any

import numpy as np

from cache import CostRow
from stages.cascade import Cascade, decide
from stages.costs import Pricer, Prices, known
from stages.costs.pricing import Bill
from stages.energy import EnergyFigure, per_image
from stages.live import Served
from stages.scores import ScoreSet

Row = dict[str, Any]
GROSS, ABOVE = "energy_j", "energy_above_idle_j"
# Per request, with the kind of cost that predicts it.
QUANTITIES = {"latency_ms": "latency", GROSS: "joules", ABOVE: "joules"}
POINTS, RELATIVE, WORSE, EFFICIENCY = 2.0, 0.08, 0.02, 0.9
_UNKNOWN = EnergyFigure(None, None, None)


def priced(rows: Mapping[str, Sequence[CostRow]], device: str, runtime: str) -> dict[str, Prices]:
    """Prices by quantity, those of all models that the profile tells."""
    found = {}
    for quantity, kind in QUANTITIES.items():
        column = quantity if quantity == ABOVE else GROSS
        here = {model: [_of(row, column) for row in own] for model, own in rows.items()}
        prices = next(known(here, {}, tuple(rows), (kind,), device, runtime), None)
        if prices is not None:
            found[quantity] = prices
    return found


def _of(row: CostRow, column: str) -> CostRow:
    """The row with these joules as its energy."""
    stem = column.removesuffix("_j")
    low, high = (getattr(row, f"{stem}_{end}_j") for end in ("low", "high"))
    return replace(row, energy_j=getattr(row, column), energy_low_j=low, energy_high_j=high)


def rows(
    prices: Mapping[str, Prices],
    scores: ScoreSet,
    cascades: Mapping[str, Cascade],
    served: Mapping[str, Served],
    size: int,
) -> list[Row]:
    """A row per cascade, for the requests of `scores`: each quantity predicted and measured."""
    found = []
    for name, one in cascades.items():
        stage, (first, second) = decide(scores, one).stage, one.models
        row: Row = {
            "cascade": name,
            "model_1": first,
            "model_2": second,
            "threshold": one.limits[0].threshold,
            "batch_size": size,
            "use_predicted": float((stage > 0).mean()),
            "use_measured": float(served[name].outcome.escalated.mean()),
        }
        cost, reference = measured(served[name]), measured(served[second])
        for quantity in QUANTITIES:
            pricer = Pricer(scores, prices[quantity], size) if quantity in prices else None
            row[quantity] = beside(
                None if pricer is None else _bills(pricer, one, stage),
                (EnergyFigure(**cost[quantity]), EnergyFigure(**reference[quantity])),
            )
        found.append(row | {key: cost[key] for key in ("host_energy_j", "warnings", "reason")})
    return found


def _bills(pricer: Pricer, one: Cascade, stage: np.ndarray) -> tuple[Bill, Bill]:
    """The cascade's and the second model's, for these very requests: nothing is drawn."""
    bill = pricer.bill(one.models, stage)
    alone = pricer.bill(one.models[1:], np.zeros(len(stage), np.int8))
    return replace(bill, spent=np.zeros(1)), replace(alone, spent=np.zeros(1))


def measured(served: Served) -> Row:
    """Latency and joules per request, {value, low, high} each, by the device's meter; the host's
    joules beside it where it has one."""
    counts = [count for count, _ in served.windows]
    meters = list(zip(*(readings for _, readings in served.windows), strict=True))
    energy = [per_image(readings, counts) for readings in meters]
    own = energy[0] if energy else {"energy": _UNKNOWN, "energy_above_idle": _UNKNOWN}
    readings = meters[0] if meters else ()
    return {
        "latency_ms": vars(EnergyFigure(served.ms_per_request, None, None)),
        GROSS: vars(own["energy"]),
        ABOVE: vars(own["energy_above_idle"]),
        "host_energy_j": [vars(each["energy"]) for each in energy[1:]],
        "windows": len(readings),
        "warnings": sorted({warning for each in readings for warning in each.warnings}),
        "reason": next((each.reason for each in readings if each.energy_j is None), None),
    }


def beside(bills: tuple[Bill, Bill] | None, figures: tuple[EnergyFigure, EnergyFigure]) -> Row:
    """A cascade and the second model alone, predicted (bills) and measured (figures).

    `difference` is predicted over measured − 1, `saving_points` predicted minus measured saving,
    in points; None where either is unknown.
    """
    got = {"value": figures[0], "saving": saving(*figures)}
    want = {"value": _UNKNOWN, "saving": _UNKNOWN}
    if bills is not None:
        want["value"] = _figure(bills[0].total)
        want["saving"] = _figure(bills[0].saved(bills[1]))
    row: Row = {"predicted": _flat(want), "measured": _flat(got)}
    both = want["value"].value is not None and got["value"].value is not None
    row["difference"] = want["value"].value / got["value"].value - 1 if both else None
    both = want["saving"].value is not None and got["saving"].value is not None
    row["saving_points"] = 100 * (want["saving"].value - got["saving"].value) if both else None
    return row


def saving(cost: EnergyFigure, reference: EnergyFigure) -> EnergyFigure:
    """The share of the reference that is saved; the relative errors of both add in quadrature."""
    if not cost.value or not reference.value:
        return _UNKNOWN
    ratio = cost.value / reference.value
    if cost.low is None or reference.low is None:
        return EnergyFigure(1 - ratio, None, None)
    half = ratio * hypot(*((each.value - each.low) / each.value for each in (cost, reference)))
    return EnergyFigure(1 - ratio, 1 - ratio - half, 1 - ratio + half)


def _figure(found: Any) -> EnergyFigure:
    return EnergyFigure(found.value, found.low, found.high)


def _flat(figures: Mapping[str, EnergyFigure]) -> Row:
    value, saved = figures["value"], figures["saving"]
    return vars(value) | {f"saving_{key}": each for key, each in vars(saved).items()}


def best(compared: Sequence[Row]) -> list[Row]:
    """By batch size and quantity, the cheapest cascade as predicted and as measured, and by how
    much the first is dearer than the second, as measured."""
    found = []
    for size in sorted({row["batch_size"] for row in compared}):
        here = [row for row in compared if row["batch_size"] == size]
        for quantity in QUANTITIES:
            values = [[row[quantity][how]["value"] for how in HOW] for row in here]
            row: Row = {"batch_size": size, "quantity": quantity, "excess": None}
            if all(each is not None for pair in values for each in pair):
                want, got = (int(column.argmin()) for column in np.array(values).T)
                row |= {"predicted": here[want]["cascade"], "measured": here[got]["cascade"]}
                row["excess"] = values[want][1] / values[got][1] - 1
            found.append(row)
    return found


HOW = ("predicted", "measured")


def targets(compared: Sequence[Row], chosen: Sequence[Row], extracted: Sequence[Row]) -> list[Row]:
    """One row per target, its `figure` the worst; `passed` is None where any part is unknown."""
    return [
        _target(
            "predicted saving of energy within 2 points of the measured one",
            [row[GROSS]["saving_points"] for row in compared],
            POINTS,
            "points",
        ),
        _target(
            "predicted energy above idle within 8 % of the measured one",
            [_percent(row[ABOVE]["difference"]) for row in compared],
            100 * RELATIVE,
            "%",
        ),
        _target(
            "cascade predicted best within 2 % of the measured best",
            [_percent(row["excess"]) for row in chosen if row["quantity"] == GROSS],
            100 * WORSE,
            "%",
        ),
        _target(
            "extraction at 0.9 of its floor or more",
            [row["efficiency"] for row in extracted],
            EFFICIENCY,
            "",
            at_least=True,
        ),
    ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _target(
    name: str,
    figures: Sequence[float | None],
    limit: float,
    unit: str,
    at_least: bool = False,
) -> Row:
    row: Row = {"target": name, "limit": limit, "unit": unit, "of": len(figures)}
    got = [each for each in figures if each is not None]
    if not got or len(got) < len(figures):
        return row | {"figure": None, "within": None, "passed": None}
    within = [each >= limit if at_least else abs(each) <= limit for each in got]
    worst = min(got) if at_least else max(got, key=abs)
    return row | {"figure": worst, "within": sum(within), "passed": all(within)}
