"""The cost options of `threshold`, `simulate`, `live` and `report`, and what they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli.output import say

if TYPE_CHECKING:
    from cache import Store
    from stages.costs import Prices
    from stages.pricing import Pricer
    from stages.score import ScoreSet

Cost = Annotated[
    str | None,
    typer.Option("--cost", help="joules, latency or macs. [default: the first known of these]"),
]
CostDevice = Annotated[
    str | None,
    typer.Option("--cost-device", help="Whose costs. [default: one that has them all]"),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size", "--cost-batch-size", min=1, help="Requests answered at once, for the cost."
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        help="Model to compare with. [default: the cheapest at least as accurate, else the best]",
    ),
]
ArrivalRate = Annotated[
    float | None,
    typer.Option("--arrival-rate", help="Requests per second; adds the idle power in between."),
]
WithPreprocess = Annotated[
    bool, typer.Option("--with-preprocess", help="Count decoding and resizing too.")
]


@dataclass(frozen=True)
class Asked:
    """What the cost options ask for."""

    kind: str | None = None
    device: str | None = None
    batch_size: int = 1
    baseline: str | None = None
    arrival_rate: float | None = None
    preprocess: bool = False


def pricer(store: Store, scores: ScoreSet, models: Sequence[str], asked: Asked) -> Pricer | None:
    """Prices for cascades of `models`, compared with any priced model of `scores`.

    None, with a word about it, where no cost of these models is known.
    """
    from cache import InputError
    from stages.costs import choose, read
    from stages.pricing import Pricer

    if asked.arrival_rate is not None and not asked.arrival_rate > 0:
        raise InputError(f"--arrival-rate {asked.arrival_rate}: give requests per second, above 0")
    rows = read(store, scores.dataset, scores.models)
    macs = {
        model: manifest.provenance.get("macs")
        for model, manifest in zip(scores.models, scores.manifests, strict=True)
    }
    prices = choose(rows, macs, models, asked.kind, asked.device)
    if prices is None:
        say("the cost of these models is unknown: run `cascade profile` or `cascade import-costs`")
        return None
    return Pricer(
        scores, prices, asked.batch_size, asked.preprocess, asked.arrival_rate, asked.baseline
    )


def predicted(
    store: Store,
    scores: ScoreSet,
    pair: Sequence[str],
    escalated: Any,
    batch_size: int,
    device: str,
) -> dict[str, Any]:
    """Latency and joules per request that the costs measured on this device predict."""
    from stages.costs import known, read
    from stages.pricing import Pricer

    rows = read(store, scores.dataset, pair)
    out = {}
    for kind in ("latency", "joules"):
        prices = next(known(rows, {}, pair, (kind,), device), None)
        if prices is not None:
            cost = Pricer(scores, prices, batch_size).request(pair[0], pair[1], escalated)
            figures = {"value": cost.value, "low": cost.low, "high": cost.high}
            out[kind] = figures | {"unit": prices.unit, "device": device}
    return out


def by_device(
    store: Store, scores: ScoreSet, devices: Sequence[str] | None, kind: str | None
) -> dict[str, Prices]:
    """The prices of all models of `scores` on each device, all of one kind."""
    from cache import InputError
    from stages.costs import choose, read

    rows = read(store, scores.dataset, scores.models)
    known = sorted({row["device"] for found in rows.values() for row in found})
    found = {}
    for device in devices or known:
        prices = choose(rows, {}, scores.models, kind, device)
        if prices is not None:
            found[device] = prices
            kind = kind or prices.kind
    if len(found) < 2:
        there = ", ".join(known) or "none"
        raise InputError(
            f"compare needs the costs of two devices, known are {there}: run `cascade profile` or "
            "`cascade import-costs`"
        )
    return found


def with_references(store: Store, scores: ScoreSet) -> ScoreSet:
    """The same split with all models of the same runtime, any of which could be the baseline."""
    from stages.score import load

    runtimes = {manifest.partition.keys["runtime"] for manifest in scores.manifests}
    if len(runtimes) > 1:
        return scores
    return load(store, scores.dataset, scores.split, runtime=runtimes.pop())


def show(row: dict[str, Any]) -> None:
    """What one cascade costs, what it saves, and what is not known."""
    if row["cost"] is not None:
        unit, base = row["cost_unit"], row["baseline"]
        where = f", {row['cost_device']}" if row["cost_device"] else ""
        figure = f"{_interval(row, 'cost')} {unit} ({row['cost_kind']}{where})"
        print(f"  cost per request           {figure}")
        print(f"  A alone, B alone           {row['cost_1']:.5g}, {row['cost_2']:.5g} {unit}")
        print(
            f"  saved against {base}: {row['saved']:.1%} "
            f"({row['saved_low']:.1%} to {row['saved_high']:.1%}), accuracy "
            f"{100 * row['accuracy_change']:+.2f} points ({100 * row['accuracy_change_low']:+.2f} "
            f"to {100 * row['accuracy_change_high']:+.2f})"
        )
    if row["energy_j_per_request"] is None:
        print("  energy                     unknown: no energy sensor: run `cascade doctor`")


def _interval(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.5g} ({row[f'{key}_low']:.5g} to {row[f'{key}_high']:.5g})"
