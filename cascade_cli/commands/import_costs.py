"""`import-costs`: costs that something else measured, into the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from cache import CostRow, InputError, Store, models as held
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_in
from cascade_cli.show.text import print_json, print_table, say
from stages import costs, costs as stage
from stages.costs import told

COLUMNS = {
    "model": "model",
    "runtime": "runtime",
    "rows": "rows",
    "rows_with_energy": "with joules",
    "devices": "device",
    "batch_sizes": "batch sizes",
    "implied": "power implied",
}


@opt.grouped(
    "file dataset source runtime cache as_json",
    dataset="Dataset. [default: the one the models belong to]",
    runtime="For rows without a `runtime`. [default: elsewhere]",
)
def import_costs(
    file: Annotated[str, typer.Argument(metavar="FILE.csv", help="A CSV file in UTF-8.")],
    wanted: opt.LogitsOptions,
    common: opt.CommonOptions,
    source: str | None = opt.option(None, "Who or what measured, for rows without a `source`."),
) -> None:
    """Bring in costs that something else measured: trtexec, a wattmeter, a published table.

    Columns: model, device, batch_size and at least one of latency_ms (milliseconds per batch) and
    energy_j (joules per image); any other of the costs table; a header line first. In other units:
    latency_s, latency_us, energy_mj, energy_uj; or power_w, power_mw while the batch runs. An
    unknown figure is an empty cell. Nothing is written when any row is wrong, or when energy and
    latency imply a power that no device draws. tools/probe.py writes such files on a board that
    cannot run cascade.

    \b
    cascade import-costs nano.csv --dataset cifar10 --source "Joulescope JS220"
    """
    rows = stage.read_rows(file, source, wanted.runtime)
    store = Store(common.cache)
    dataset = wanted.dataset or _dataset_of(store, list(dict.fromkeys(row.model for row in rows)))
    models = bring_costs(store, dataset, rows)
    if common.as_json:
        print_json({"dataset": dataset, "rows": len(rows), "models": [vars(row) for row in models]})
        return
    print_table([vars(row) | {"implied": _implied(row.implied_w)} for row in models], COLUMNS)
    print(f"{dataset}: {len(rows)} rows in {store.root}")


def bring_costs(store: Store, dataset: str, rows: Sequence[CostRow]) -> list[costs.ImportedCosts]:
    """Into the cache; what is doubtful about them is said."""
    models = stage.import_costs(store, dataset, rows)
    _tell_unknown(store, dataset, [row.model for row in models])
    for doubt in costs.doubts(rows):
        say(f"warning: {doubt}")
    return models


def _implied(by_device: Mapping[str, Mapping[str, float]]) -> str | None:
    """The watts of each device; without its name where there is but one."""
    ends = {
        device: " to ".join(dict.fromkeys(told(watts[end]) for end in ("low", "high")))
        for device, watts in by_device.items()
    }
    named = ends.values() if len(ends) == 1 else (f"{device}: {x}" for device, x in ends.items())
    return ", ".join(named) or None


def _tell_unknown(store: Store, dataset: str, models: Sequence[str]) -> None:
    """Costs may come before the logits; a name that is misspelt waits for them in vain."""
    there = held(store, dataset)
    unknown = [model for model in dict.fromkeys(models) if model not in there]
    if unknown:
        has = f"it has {', '.join(there)}" if there else "it has none"
        say(
            f"warning: the cache has no logits of {', '.join(unknown)} on {dataset} ({has}): "
            "check the names, or fill it later"
        )


def _dataset_of(store: Store, models: Sequence[str]) -> str:
    """The one dataset that all these models belong to."""
    found = sorted({dataset_in(store, None, [model]) for model in models})
    if len(found) > 1:
        raise InputError(f"the models belong to {', '.join(found)}: give --dataset")
    return found[0]
