"""`score`: logits turned into answers and scores."""

from __future__ import annotations

from functools import partial

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_in, named_splits
from cascade_cli.inputs.models import check_cached_names
from cascade_cli.inputs.scores import or_extracted, package_scores, report_split
from cascade_cli.inputs.words import names_in
from cascade_cli.show.text import print_json, print_table
from stages import scores as stage
from stages.scores import splits_of


@opt.grouped(
    "dataset data split models scorefn weights runtime cache as_json",
    split="Splits separated by commas. [default: all]",
)
def score(
    wanted: opt.LogitsOptions,
    common: opt.CommonOptions,
    scorefn: str | None = opt.option(None, "Also make these scores of packages, by commas.", "-s"),
) -> None:
    """Turn logits into answers and scores (maxp, difference, entropy) per image.

    \b
    cascade score -d digits
    """
    store = Store(common.cache)
    names, extra = names_in(wanted.models), package_scores(store, scorefn)
    dataset = dataset_in(store, wanted.dataset, names or ())
    splits = named_splits(dataset, wanted.split) or splits_of(store, dataset)
    splits = splits or [report_split(store, dataset, None)]
    check_cached_names(names or ())
    rows = []
    for split in splits:
        made = partial(stage.run, store, dataset, [split], names, wanted.runtime, extra)
        rows += or_extracted(made, store, (dataset, split), names, wanted)
    if common.as_json:
        print_json({"dataset": dataset, "models": rows})
        return
    print_table(rows, {"model": "model", "split": "split", "rows": "rows", "accuracy": "top-1:.2%"})
