"""The two tables of published outputs, through the product's own door into a cache."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache import Store
from stages.ingest import ImportRequest, import_many
from stages.scores import ScoreSet, load, models_of

MACS = Path(__file__).with_name("macs.csv")


@dataclass(frozen=True)
class Outputs:
    """`dataset` is what the cache calls it; its models are priced where `priced` says so."""

    dataset: str
    split: str
    file: str
    priced: bool


TABLES = {
    "imagenet": Outputs("imagenet", "val", "imagenet_top2.parquet", True),
    "cifar10": Outputs("cifar10-published", "test", "cifar10_top2.parquet", False),
}


def read(store: Store, folder: Path, table: Outputs) -> ScoreSet:
    """The scores of all models, imported unless the cache has them. InputError without the file."""
    if not models_of(store, table.dataset, table.split):
        file = str(folder / table.file)
        import_many(store, ImportRequest(table.dataset, "", "", file, kind="top_k"), table.split)
    return load(store, table.dataset, table.split)


def macs() -> Mapping[str, tuple[float, str]]:
    """ImageNet model → (multiply-adds of one image, where the number is from)."""
    with open(MACS, encoding="utf-8", newline="") as lines:
        return {row["model"]: (float(row["macs"]), row["source"]) for row in csv.DictReader(lines)}


def prices(scores: ScoreSet, table: Outputs) -> np.ndarray:
    """float64 [M]: multiply-adds of each model, NaN where unknown."""
    known = macs() if table.priced else {}
    return np.array([known.get(model, (math.nan, ""))[0] for model in scores.models])
