"""`datasets`: what there is to run on, and what the cache has of it."""

from __future__ import annotations

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.cache_root import cached_splits, manifests_by
from cascade_cli.show.text import print_json, print_table
from stages.datasets import ListedDataset, listing, spec

DATASET_COLUMNS = {
    "name": "name",
    "classes": "classes",
    "splits": "splits",
    "height": "height",
    "width": "width",
    "cached": "cached splits",
    "note": "note",
}


@opt.grouped("data cache as_json")
def datasets(images: opt.ImageOptions, common: opt.CommonOptions) -> None:
    """List the datasets, and what lies in a folder of images.

    \b
    cascade datasets --data photos
    """
    there = manifests_by(Store(common.cache), "samples", ("dataset",))
    rows = [
        _keyed(row) | {"cached": cached_splits(there.pop((row.name,), ()))}
        for row in listing(images.data)
    ]
    rows += [{"name": name, "cached": cached_splits(found)} for (name,), found in there.items()]
    if common.as_json:
        print_json({"datasets": rows})
        return
    print_table(rows, DATASET_COLUMNS)


def _keyed(row: ListedDataset) -> dict[str, object]:
    """By column; what a folder of an unknown name does not tell has always stood first."""
    first = () if spec(row.name) else ("height", "width", "download", "note")
    return {name: getattr(row, name) for name in first} | vars(row)
