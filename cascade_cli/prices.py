"""The cost options of every command that tells costs, and what they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cascade_cli import options as opt
from cascade_cli.output import print_text, say

if TYPE_CHECKING:
    import numpy as np

    from cache import Store
    from stages.costs import Prices
    from stages.pricing import Pricer
    from stages.score import ScoreSet

Cost = Annotated[
    str | None,
    typer.Option(
        "--cost",
        help="joules, latency or macs. [default: the first known; --quick latency comes last]",
    ),
]
CostDevice = Annotated[
    str | None,
    typer.Option("--cost-device", help="Whose costs. [default: one that has them all]"),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        "--cost-batch-size",
        min=1,
        max=opt.MOST,
        help="Requests answered at once, for the cost.",
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        help="Model to compare with. [default: the one that one would deploy alone]",
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
    from stages.costs import choose
    from stages.pricing import Pricer
    from stages.stale_costs import current, tell_unstated

    if asked.arrival_rate is not None and not asked.arrival_rate > 0:
        raise InputError(f"--arrival-rate {asked.arrival_rate}: give requests per second, above 0")
    rows = current(store, scores)
    prices = choose(rows, scores.macs, models, asked.kind, asked.device, scores.runtime)
    if prices is None:
        say("the cost of these models is unknown: run `cascade profile` or `cascade import-costs`")
        return None
    tell_unstated(store, scores, prices)
    return Pricer(
        scores, prices, asked.batch_size, asked.preprocess, asked.arrival_rate, asked.baseline
    )


def of_cascades(
    store: Store, scores: ScoreSet, models: Sequence[str], asked: Asked
) -> Pricer | None:
    """The same; InputError where a baseline is asked for and no cost is known."""
    from cache import InputError

    found = pricer(store, scores, models, asked)
    if found is None and asked.baseline is not None:
        raise InputError("--baseline compares costs, and none is known: leave it out")
    return found


def right(everyone: ScoreSet, baseline: str | None) -> np.ndarray | None:
    """bool [N]: where the model to compare with is right; None where none was asked for."""
    from cache.errors import one_of

    if baseline is None:
        return None
    if baseline not in everyone.models:
        raise one_of("baseline", baseline, everyone.models)
    return everyone.correct[everyone.index(baseline)]


def known(store: Store, scores: ScoreSet, kind: str, device: str | None) -> bool:
    """Whether all models of `scores` have costs of this kind on this device."""
    from stages.costs import known as found
    from stages.stale_costs import current

    rows = current(store, scores)
    return any(found(rows, scores.macs, scores.models, (kind,), device, scores.runtime))


def of_all(store: Store, scores: ScoreSet, asked: Asked) -> Pricer:
    """Prices for all the models, else multiply-adds of those that tell them."""
    from stages.costs import choose, some_macs
    from stages.pricing import Pricer
    from stages.stale_costs import current, tell_unstated

    rows, macs = current(store, scores), scores.macs
    found = choose(rows, macs, scores.models, asked.kind, asked.device, scores.runtime)
    prices = found or some_macs(macs)
    tell_unstated(store, scores, prices)
    return Pricer(scores, prices, asked.batch_size, baseline=asked.baseline)


def predicted(
    store: Store,
    scores: ScoreSet,
    pair: Sequence[str],
    stage: Any,
    batch_size: int,
    device: str,
    algorithm: str | None = None,
) -> dict[str, Any]:
    """Latency and joules per request that the costs measured on this device predict.

    `hit` are the requests that a memory answers, by the hash `algorithm`, whose cost must be known.
    """
    from stages.costs import hash_cost, known
    from stages.pricing import Pricer
    from stages.stale_costs import current, tell_unstated

    rows = current(store, scores)
    out = {}
    for kind in ("latency", "joules"):
        prices = next(known(rows, {}, pair, (kind,), device, scores.runtime), None)
        if prices is not None:
            hashing = algorithm and hash_cost(store, scores.dataset, algorithm, kind, device)
            if algorithm and hashing is None:
                continue
            tell_unstated(store, scores, prices)
            pricer = Pricer(scores, prices, batch_size, hash_cost=hashing or None)
            cost = pricer.request(pair, stage, bool(algorithm))
            figures = {"value": cost.value, "low": cost.low, "high": cost.high}
            out[kind] = figures | {"unit": prices.unit, "device": device}
    return out


def by_device(
    store: Store, scores: ScoreSet, devices: str | None, kind: str | None
) -> dict[str, Prices]:
    """The prices of all models of `scores` on each device, all of one kind.

    `devices` separated by commas, None for all that know every model.
    """
    from cache import InputError
    from cache.errors import one_of
    from stages.costs import UNITS, choose, devices_of, known
    from stages.stale_costs import current, tell_unstated

    rows = current(store, scores)
    there = devices_of(rows, scores.models)
    if kind is not None and kind not in MEASURED:
        raise one_of("cost that differs between devices", kind, MEASURED)
    runtime = scores.runtime
    wanted = there if devices is None else split_devices(devices, there)
    found: dict[str, Prices] = {}
    for each in MEASURED if kind is None else (kind,):
        priced = {
            d: next(known(rows, {}, scores.models, (each,), d, runtime), None) for d in wanted
        }
        found = {device: prices for device, prices in priced.items() if prices is not None}
        if len(found) > 1 and (devices is None or len(found) == len(wanted)):
            for prices in found.values():
                tell_unstated(store, scores, prices)
            return found
    for device in wanted if devices is not None else ():
        choose(rows, {}, scores.models, kind, device, runtime)  # says what it lacks
    raise InputError(
        f"compare needs {kind or ' or '.join(UNITS[each] for each in MEASURED)} of all models on "
        f"two devices, costs are known on {'; '.join(there) or 'none'}: run `cascade profile` or "
        "`cascade import-costs`"
    )


MEASURED = ("joules", "latency")


def beside_measured(
    expected: dict[str, Any], measured: dict[str, float | None]
) -> dict[str, dict[str, Any]]:
    """The predictions with what was measured and the relative difference, None where unknown."""
    out = {}
    for kind, found in expected.items():
        got = measured[kind]
        difference = None if got is None else got / found["value"] - 1
        out[kind] = found | {"measured": got, "difference": difference}
    return out


def split_devices(text: str, known: Sequence[str]) -> list[str]:
    """Devices separated by commas, which their names may hold too: the longest known name counts.

    >>> split_devices("cpu, 2 threads,nano", ["nano", "cpu, 2 threads"])
    ['cpu, 2 threads', 'nano']
    """
    from cache.errors import one_of

    found, rest = [], text.strip()
    while rest:
        fitting = [name for name in known if f"{rest},".startswith(f"{name},")]
        if not fitting:
            raise one_of("cost device", rest.partition(",")[0], known)
        found.append(max(fitting, key=len))
        rest = rest[len(found[-1]) :].lstrip(", ")
    return list(dict.fromkeys(found))


def with_references(store: Store, scores: ScoreSet) -> ScoreSet:
    """The same images with all models of the same runtime, any of which could be the baseline."""
    import numpy as np

    from stages.score import load

    if scores.runtime is None:
        return scores
    found = load(store, scores.dataset, scores.split, runtime=scores.runtime)
    if len(found.labels) == len(scores.labels):
        return found
    return found.of_images(np.isin(found.sample_ids, scores.sample_ids))


NO_SENSOR = "no energy sensor: run `cascade doctor`"


def show(row: dict[str, Any]) -> None:
    """What one cascade costs and why it is counted so, what it saves and how much more accurate it
    is than the model that one would deploy alone, and what is not known."""
    from stages.amounts import figure, told_in

    if row["cost"] is not None:
        unit = row["cost_unit"]
        why = row["cost_why"].removeprefix(f"{unit}, ") + without_hash(row)
        print(f"  cost per request           {interval(row)} ({why})")
        alone = " and ".join(figure(row[name], unit) for name in ("cost_1", "cost_2"))
        print(f"  A alone, B alone           {alone} {told_in(unit)}")
    if row["baseline"] is not None:
        print(f"  {saved(row)}accuracy {change(row)}")
    if row.get("hash_reason"):
        print(f"  cost per request           unknown: {row['hash_reason']}")
    elif lacks_energy(row):
        print(f"  energy                     unknown: {NO_SENSOR}")


def saved(row: dict[str, Any]) -> str:
    """What it is held against, and what it saves or costs more, where that is known."""
    base, value = row["baseline"], row["saved"]
    if value is None:
        return f"against {base}: "
    sign = 1 if value >= 0 else -1
    low, high = sorted(sign * row[f"saved_{end}"] for end in ("low", "high"))
    told = f"{abs(value):.1%} ({low:.1%} to {high:.1%}), "
    return f"saved against {base}: {told}" if sign > 0 else f"costs more than {base}: {told}"


def change(row: dict[str, Any]) -> str:
    """Of accuracy, in points, with its interval."""
    value, low, high = (100 * row[f"accuracy_change{end}"] for end in ("", "_low", "_high"))
    return f"{value:+.2f} points ({low:+.2f} to {high:+.2f})"


def number(threshold: float | str | None) -> str:
    """λ in six digits, which tell it from the scores around it; --json gives all."""
    return f"{threshold:.6g}" if isinstance(threshold, float) else str(threshold)


def lacks_energy(row: dict[str, Any]) -> bool:
    """Whether joules are unknown, and nothing else was asked for."""
    other = str(row["cost_why"]).endswith("as asked")
    return row["energy_j_per_request"] is None and not other


def without_hash(row: dict[str, Any]) -> str:
    """Said of a cost in multiply-adds, of which a memory's hashing has none."""
    return "; without hashing" if row.get("hash_counted") is False else ""


def against(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The column that names each row's baseline, where these differ."""
    return {"baseline": "against"} if len({row["baseline"] for row in rows}) > 1 else {}


def baseline(rows: Sequence[dict[str, Any]]) -> str:
    """What all rows are held against, in words."""
    return "the model that its row names" if against(rows) else rows[0]["baseline"]


def explain(rows: Sequence[dict[str, Any]], what: str = "saved against") -> None:
    """Below a table: what its costs are and why, and against what they are saved."""
    print_text(f"{counted(rows[0])}; {what} {baseline(rows)}")


def counted(row: dict[str, Any]) -> str:
    """What a row's cost is, and why that."""
    from stages.amounts import told_in

    return (
        f"cost: {told_in(row['cost_unit'])} per request ({row['cost_why']}), batch size "
        f"{row['cost_batch_size']}"
    )


def interval(row: dict[str, Any]) -> str:
    """A row's cost with its interval and unit."""
    from stages import amounts

    unit = row["cost_unit"]
    told = amounts.interval(row["cost"], row["cost_low"], row["cost_high"], unit)
    return f"{told} {amounts.told_in(unit)}"


def told(row: dict[str, Any]) -> dict[str, Any]:
    """The row as a table shows it, its cost without the unit, which `explain` tells."""
    from stages.amounts import figure

    cost = row["cost"]
    return row | {"cost": cost and figure(cost, row["cost_unit"])}
