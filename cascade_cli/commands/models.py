"""`models`: what there is to run, and what the cache has of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cache import Manifest, Store
from cascade_cli import options as opt
from cascade_cli.inputs.cache_root import cached_splits, manifests_by
from cascade_cli.show.text import print_json, print_table
from stages.models import listing

MODEL_COLUMNS = {
    "name": "name",
    "dataset": "dataset",
    "parameters": "parameters:,d",
    "macs": "multiply-adds:,d",
    "top1": "stated top-1:.2%",
    "trained_on": "trained on",
    "weights": "weights",
    "cached": "cached splits",
}


@opt.grouped("dataset weights cache as_json", dataset="Of this dataset. [default: all]")
def models(images: opt.ImageOptions, common: opt.CommonOptions) -> None:
    """List the models: size, stated accuracy, what they were trained on, where the weights are.

    \b
    cascade models -d cifar10
    """
    dataset = images.dataset
    there = manifests_by(Store(common.cache), "logits", ("dataset", "model"))
    rows = [
        _filled(vars(row), there.pop((row.dataset, row.name), ()))
        for row in listing(dataset, images.weights)
    ]
    rows += [
        _filled({"name": name, "dataset": of}, found)
        for (of, name), found in there.items()
        if dataset in (None, of)
    ]
    rows.sort(key=lambda row: not row["cached"])
    if common.as_json:
        print_json({"models": rows})
        return
    known = [row for row in rows if row["cached"] or row["weights"] or row["parameters"]]
    print_table(known or rows, MODEL_COLUMNS)
    if known and len(known) < len(rows):
        print(f"{len(rows) - len(known)} more architectures take weights of your own: see --json")


def _filled(row: dict[str, Any], manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The row, with what the cache tells of the model where the row does not."""
    facts = manifests[0].provenance if manifests else {}
    trained_on = facts.get("trained_on") or {}
    told = {key: facts.get(key) for key in ("parameters", "macs")}
    told |= {"trained_on": trained_on.get("splits"), "weights": None}
    own = {key: value for key, value in row.items() if value is not None}
    return row | told | own | {"cached": cached_splits(manifests)}
