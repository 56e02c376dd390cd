"""Prices of cascades, from the costs that the cache has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cache import InputError, Store, one_of
from cascade_cli.inputs.words import parse_cost
from cascade_cli.options.costs import CostOptions
from cascade_cli.show.text import say
from stages import costs as stage
from stages.costs import Pricer, Prices, counted_runs, current, known
from stages.scores import ScoreSet


def pricer_or_none(
    store: Store,
    scores: ScoreSet,
    models: Sequence[str],
    costs: CostOptions,
    memory: str | None = None,
    *,
    comparing: bool = False,
) -> Pricer | None:
    """Prices for cascades of `models`, compared with any priced model of `scores`; `memory` names
    the hash of a memory in front.

    None, with a word about it, where no cost of these models is known; InputError where a budget is
    given, or `comparing` is what costs are for, and a baseline is asked for.
    """
    if costs.arrival_rate is not None and not costs.arrival_rate > 0:
        raise InputError(f"--arrival-rate {costs.arrival_rate}: give requests per second, above 0")
    found = stage.pricer(
        *(store, scores, models, costs.cost, costs.cost_device, memory),
        batch_size=costs.batch_size,
        preprocess=costs.with_preprocess,
        arrival_rate=costs.arrival_rate,
        baseline=costs.baseline,
    )
    if found is not None and costs.cost_budget is not None:
        return replace(found, budget=parse_cost(costs.cost_budget, found.prices, "--cost-budget"))
    if costs.cost_budget is not None:
        raise InputError(
            "--cost-budget: the cost of these models is unknown: run `cascade profile` or "
            "`cascade import-costs`"
        )
    if found is None:
        say("the cost of these models is unknown: run `cascade profile` or `cascade import-costs`")
    if found is None and comparing and costs.baseline is not None:
        raise InputError("--baseline compares costs, and none is known: leave it out")
    return found


def pricer_or_runs(
    store: Store, scores: ScoreSet, models: Sequence[str], costs: CostOptions
) -> Pricer:
    """The same, or the runs of any model where no cost is known."""
    found = pricer_or_none(store, scores, models, costs)
    if found is not None:
        return found
    say("so the runs of any model count alike, and no cascade can be cheaper than a single model")
    counted = counted_runs(scores.models)
    return Pricer(scores, counted, costs.batch_size, baseline=costs.baseline)


def all_priced(store: Store, scores: ScoreSet, kind: str, device: str | None) -> bool:
    """Whether all models of `scores` have costs of this kind on this device."""
    try:
        return stage.pricer(store, scores, None, kind, device) is not None
    except InputError:
        return False


def pricer_of_all(store: Store, scores: ScoreSet, costs: CostOptions) -> Pricer:
    """Prices for all the models, else multiply-adds of those that tell them."""
    how: dict[str, Any] = {"batch_size": costs.batch_size, "baseline": costs.baseline}
    found = stage.pricer(store, scores, None, costs.cost, costs.cost_device, **how)
    return found or Pricer(scores, stage.some_macs(scores.macs), **how)


MEASURED = ("joules", "latency")
ALL = "all"


def prices_by_device(
    store: Store, scores: ScoreSet, devices: str | None, kind: str | None
) -> dict[str, Prices] | None:
    """The prices of all models of `scores` on each of several devices, all of one kind.

    `devices` separated by commas, ALL for those that know every model; None where one is meant.
    """
    if devices is None:
        return None
    rows, every = current(store, scores), devices == ALL
    there = stage.devices_of(rows, scores.models)
    if devices in there or not (every or "," in devices):
        return None
    if kind is not None and kind not in MEASURED:
        raise one_of("cost that differs between devices", kind, MEASURED)
    runtime = scores.runtime
    wanted = there if every else split_devices(devices, there)
    for each in MEASURED if kind is None else (kind,):
        priced = {
            d: next(known(rows, {}, scores.models, (each,), d, runtime), None) for d in wanted
        }
        found = {device: prices for device, prices in priced.items() if prices is not None}
        if len(found) > 1 and (every or len(found) == len(wanted)):
            for prices in found.values():
                stage.tell_unstated(store, scores, prices)
            return found
    for device in () if every else wanted:
        stage.choose(rows, {}, scores.models, kind, device, runtime)  # says what it lacks
    units = " or ".join(stage.UNITS[each] for each in MEASURED)
    raise InputError(
        f"several devices need {kind or units} of all models on two devices, costs are known on "
        f"{'; '.join(there) or 'none'}: run `cascade profile` or `cascade import-costs`"
    )


def split_devices(text: str, known: Sequence[str]) -> list[str]:
    """Devices separated by commas, which their names may hold too: the longest known name counts.

    >>> split_devices("cpu, 2 threads,nano", ["nano", "cpu, 2 threads"])
    ['cpu, 2 threads', 'nano']
    """
    found, rest = [], text.strip()
    while rest:
        fitting = [name for name in known if f"{rest},".startswith(f"{name},")]
        if not fitting:
            raise one_of("cost device", rest.partition(",")[0], known)
        found.append(max(fitting, key=len))
        rest = rest[len(found[-1]) :].lstrip(", ")
    return list(dict.fromkeys(found))
