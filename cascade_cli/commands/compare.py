"""`compare`: what another device would change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import prices_by_device
from cascade_cli.inputs.fit import fit_plan
from cascade_cli.inputs.score_names import deployable_scores
from cascade_cli.inputs.scores import enough_models, reported_scores
from cascade_cli.show.fit import decided_by_folds
from cascade_cli.show.text import print_json, print_table, print_text, say
from stages import search as stage
from stages.costs import figure, told_in


@dataclass(frozen=True)
class CachedLogitsOptions(opt.LogitsOptions):
    """Of the cache alone."""

    data: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class DevicesOptions(opt.CostOptions):
    """On several devices, against no baseline."""

    cost_device: Annotated[
        str | None,
        typer.Option("--cost-device", help="Devices separated by commas. [default: all known]"),
    ] = None
    baseline: str | None = None


@opt.grouped(
    "dataset cost_device cost batch_size min_accuracy scorefn split fit_split runtime cache as_json"
)
def compare(
    wanted: CachedLogitsOptions,
    costs: DevicesOptions,
    common: opt.CommonOptions,
    min_accuracy: Annotated[
        float | None,
        typer.Option(
            callback=opt.share,
            help="Accuracy to reach on the fitting images. [default: the best model's]",
        ),
    ] = None,
    scorefn: opt.ScoreFns = opt.OWN_SCORES,
) -> None:
    """Which cascade is best on each device, and what one device's choice costs on another.

    \b
    cascade compare -d digits --cost-device jetson-nano,a100
    """
    store = Store(common.cache)
    names = deployable_scores(store, scorefn)
    reported = reported_scores(store, wanted, None)
    enough_models(store, reported.models[1:], reported)
    fitted = fit_plan(store, reported, wanted)
    say(*fitted.notes)
    by_device = prices_by_device(store, reported, costs.cost_device, costs.cost)
    rows = stage.compare_devices(reported, fitted, by_device, min_accuracy, costs.batch_size, names)
    if common.as_json:
        head = {"dataset": reported.dataset, "split": reported.split, "fit_split": fitted.split}
        print_json(head | {"fit_method": fitted.method, "rows": rows})
        return
    _show_choices(rows, next(iter(by_device.values())).unit)
    if fitted.method == "cross-fit":
        print_text(decided_by_folds(len(reported.labels)))


def _show_choices(rows: Sequence[dict[str, Any]], unit: str) -> None:
    devices = [row["device"] for row in rows]
    shown = [row | {name: figure(row["costs"][name], unit) for name in devices} for row in rows]
    columns = {"device": "best on", "model_1": "A", "model_2": "B", "score": "score"}
    columns |= {"postcheck": "post-check", "accuracy": "accuracy:.2%", "usage": "use of B:.1%"}
    print_table(shown, columns | {name: f"cost on {name}, {told_in(unit)}" for name in devices})
    for row in rows:
        for device, excess in row["excess"].items():
            if device != row["device"]:
                print(f"{row['device']}'s choice costs {excess:+.1%} on {device}")
