"""`profile`: what the models cost on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_of_first
from cascade_cli.inputs.models import choose_models
from cascade_cli.inputs.words import names_in, whole_numbers
from cascade_cli.show.profile import show_costs
from cascade_cli.show.text import print_json
from stages.models import require_torch

BATCH_SIZES = "1,2,4,8,16,32,64"


@dataclass(frozen=True)
class ProfiledOptions(opt.ImageOptions):
    """On a device, in a precision."""

    preprocess: opt.Preprocess = None
    device: opt.Device = None
    precision: opt.Precision = "fp32"


@opt.grouped(
    "dataset data models model weights batch_sizes preprocess quick meter device precision cache "
    "as_json"
)
def profile(
    dataset: opt.Dataset = None,
    *,
    images: ProfiledOptions,
    models: Annotated[
        str, typer.Option("--models", help="Names separated by commas, `all`, `all-available`.")
    ] = "all-available",
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model of your own, NAME=ARCHITECTURE:FILE. Repeatable."),
    ] = None,
    batch_sizes: Annotated[
        str, typer.Option("--batch-sizes", help="Separated by commas.")
    ] = BATCH_SIZES,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and shorter windows; the rows say so.")
    ] = False,
    meter: opt.Meter = None,
    common: opt.CommonOptions,
) -> None:
    """Measure latency and joules of each model by batch size; write the costs table.

    \b
    cascade profile -d digits --batch-sizes 1,16,64
    """
    wanted = [] if model and models == "all-available" else names_in(models) or []
    dataset = dataset_of_first(dataset, wanted, model)
    store = Store(common.cache)
    chosen = choose_models(store, dataset, wanted, model or [], images)
    sizes = sorted(set(whole_numbers(batch_sizes, "batch size", 1, 65536)))

    require_torch()
    from cascade_cli.inputs.profiling import profile_models  # torch, which may not be there

    rows = profile_models(store, dataset, chosen, images, sizes, quick, meter)
    if common.as_json:
        print_json({"dataset": dataset, "rows": [vars(row) for row in rows]})
        return
    show_costs(rows)
