"""`score`: logits turned into answers and scores."""

from __future__ import annotations

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_in, named_splits
from cascade_cli.inputs.scores import package_scores, report_split, score_set
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
    for split in splits:
        score_set(store, dataset, split, names, wanted)
    rows = stage.run(store, dataset, splits, names, runtime=wanted.runtime, extra=extra)
    if common.as_json:
        print_json({"dataset": dataset, "models": rows})
        return
    print_table(rows, {"model": "model", "split": "split", "rows": "rows", "accuracy": "top-1:.2%"})
