"""What kind of outputs a file holds, told by its columns or else its rows."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from stages.ingest.arrays import NamedArrays
from stages.ingest.outputs import checked_shape
from stages.ingest.probabilities import as_numbers
from stages.ingest.request import ImportRequest
from stages.ingest.samples import Contents
from stages.ingest.top_k import holds_top_k

TOLD_BY = {
    "logits": "rows that are no probabilities",
    "probabilities": "rows of values from 0 to 1",
    "top_k": "class_1, p_1 …",
    "answers": "prediction",
}


def kind_of(request: ImportRequest, contents: Contents, classes: Collection[str]) -> str:
    """One of `cache.OUTPUTS`; that of N × K numbers is told by what most rows are, so that those
    which are not are found to be wrong."""
    names = [*(contents.named if isinstance(contents, NamedArrays) else contents.names)]
    if holds_top_k(names):
        return "top_k"
    if "prediction" in map(str.casefold, names):
        return "answers"
    array = contents.logits(request.logits_column, request.label_column, classes)
    checked_shape(array, "outputs")
    values = as_numbers(array.read(), array)
    per_cent = np.abs(values.sum(axis=1) - 100) < 1
    shares = (values >= 0).all(axis=1) & ((values <= 1).all(axis=1) | per_cent)
    return "probabilities" if shares.mean() > 1 / 2 else "logits"
