"""scores → one table, one row per image, for whoever wants no partitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

import cache
from cache import InputError, Partition, Store
from stages.scores import ScoreSet


def wide(store: Store, scores: ScoreSet, extra: Sequence[str] = ()) -> pa.Table:
    """sample_id, label and key, then MODEL_prediction, _correct and _SCORE of each model.

    `extra` names scores of packages that get columns too.
    """
    place = Partition.of("samples", dataset=scores.dataset, split=scores.split)
    samples = cache.load(store, place)
    if samples is None:
        raise InputError(f"the cache has no samples of {scores.dataset}/{scores.split}")
    cache.same_images([samples, *scores.manifests])
    table = cache.read_table(store, samples).sort_by("sample_id")
    keys = table.filter(np.isin(table["sample_id"], scores.sample_ids)).column("key")
    columns = {"sample_id": scores.sample_ids, "label": scores.labels, "key": keys}
    names = dict.fromkeys((*scores.own, *extra))
    for m, model in enumerate(scores.models):
        columns[f"{model}_prediction"] = scores.predictions[m]
        columns[f"{model}_correct"] = scores.correct[m]
        columns |= {f"{model}_{name}": scores.scores[name][m] for name in names}
    return pa.table(columns)


def writers(table: pa.Table) -> dict[str, Callable[[BinaryIO], object]]:
    """By the ending of a file's name, how to write the table there."""
    by_ending = {".csv": pyarrow.csv.write_csv, ".parquet": pq.write_table}
    return {ending: partial(write, table) for ending, write in by_ending.items()}
