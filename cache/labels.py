"""Labels of a split: those of all its images, or none. In tables unknown is null, in arrays −1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from cache.storage import InputError

UNLABELLED = -1
_OF_LABELS = ("label", "correct")  # columns that are null where nobody knows the labels


def told_unlabelled(labels: np.ndarray) -> dict[str, bool]:
    """What the provenance of samples with these labels says of them; nothing of known ones."""
    return {"labelled": False} if unlabelled(labels) else {}


def unlabelled(labels: np.ndarray) -> bool:
    """Whether labels int [N] are those of a split without; InputError where some are known."""
    unknown = int((labels == UNLABELLED).sum())
    return _all_or_none(unknown, len(labels))


def labels_in(table: pa.Table) -> np.ndarray:
    """int32 [N] of samples or scores; UNLABELLED, all of them, where nobody knows them."""
    column = table.column("label")
    if not _all_or_none(column.null_count, len(column)):
        return column.to_numpy()  # type: ignore[no-any-return]  # pyarrow has no types
    return np.full(len(column), UNLABELLED, np.int32)


def some_unlabelled(table: pa.Table) -> bool:
    """Whether rows of any table have labels of some images only, which no split has."""
    columns = [table.column(name) for name in _OF_LABELS if name in table.column_names]
    return {column.null_count for column in columns} not in (set(), {0}, {table.num_rows})


def without_labels(schema: pa.Schema) -> pa.Schema:
    """The same columns of a split whose labels nobody knows."""
    return pa.schema(
        [field.with_nullable(field.nullable or field.name in _OF_LABELS) for field in schema]
    )


def label_column(labels: Any) -> Any:
    """As samples have it, of labels int [N]."""
    known = not unlabelled(np.asarray(labels))
    return labels if known else pa.nulls(len(labels), pa.int32())


def _all_or_none(unknown: int, images: int) -> bool:
    """Whether it is all; InputError for some."""
    if unknown not in (0, images):
        raise InputError(
            f"{unknown:,} of {images:,} images have no label: a split has labels of all its images "
            "or of none, so make two splits of them"
        )
    return unknown > 0
