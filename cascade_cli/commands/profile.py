"""`profile`: what the models cost on this machine."""

from __future__ import annotations

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_of_first
from cascade_cli.inputs.running import check_calibration, in_runtimes, models_to_run
from cascade_cli.inputs.words import names_in, whole_numbers
from cascade_cli.show.profile import show_costs
from cascade_cli.show.text import print_json
from stages.runtimes import require_engine


@opt.grouped(
    "dataset data models model weights batch_sizes preprocess quick meter device precision runtime "
    "calibrate_on cache as_json"
)
def profile(
    images: opt.ImageOptions,
    common: opt.CommonOptions,
    models: str = opt.option("all-available", "Names separated by commas, `all`, `all-available`."),
    model: list[str] | None = opt.option(
        None, "A model of your own, NAME=ARCHITECTURE:FILE. Repeatable."
    ),
    batch_sizes: str = opt.option("1,2,4,8,16,32,64", "Separated by commas."),
    quick: bool = opt.option(False, "Fewer and shorter windows; the rows say so."),
    meter: str | None = opt.option(None, opt.METER),
) -> None:
    """Measure latency and joules of each model by batch size; write the costs table.

    \b
    cascade profile -d digits --batch-sizes 1,16,64
    """
    wanted = [] if model and models == "all-available" else names_in(models) or []
    runs = in_runtimes(images)
    check_calibration(runs)
    dataset = dataset_of_first(images.dataset, wanted, model)
    store = Store(common.cache)
    sizes = sorted(set(whole_numbers(batch_sizes, "batch size", 1, 65536)))

    for each in runs:
        require_engine(each.runtime)
    from cascade_cli.inputs.profiling import profile_models  # an engine, which may not be there

    chosen = [models_to_run(store, dataset, wanted, model or [], each) for each in runs]
    rows = profile_models(store, dataset, list(zip(chosen, runs, strict=True)), sizes, quick, meter)
    if common.as_json:
        print_json({"dataset": dataset, "rows": [vars(row) for row in rows]})
        return
    show_costs(rows)
