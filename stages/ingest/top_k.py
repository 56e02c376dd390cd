"""The most probable classes of each image, from elsewhere: how a file holds them, what makes rows
such."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np

from cache import InputError
from stages.ingest.arrays import Array, NamedArrays
from stages.ingest.class_columns import TOP_K
from stages.ingest.probabilities import as_numbers, in_range, sum_tolerance
from stages.ingest.tables import Table

_SORTED = 16  # classes in a row, from which on sorting is quicker
_HEADS = dict(zip(TOP_K, map(re.compile, (r"class_?(\d+)", r"p(?:rob)?_?(\d+)")), strict=True))
_FORM = "columns class_1, p_1, class_2, p_2 …, or lists or arrays called classes and probabilities"


def top_k_arrays(contents: NamedArrays | Table) -> dict[str, Array]:
    """`classes` and `probabilities` [N, k] of a file; InputError where it holds no such."""
    if isinstance(contents, NamedArrays):
        found = {name: contents.named[name] for name in TOP_K if name in contents.named}
    else:
        found = _of_table(contents)
    if len(found) < 2:
        raise InputError(f"{contents.path} holds no top-k: give {_FORM}")
    shapes = {name: array.shape for name, array in found.items()}
    n, k = shapes["classes"] if len(shapes["classes"]) == 2 else (0, 0)
    if n < 1 or k < 2 or shapes["probabilities"] != (n, k):
        told = " and ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"{contents.path} has {told}: top-k are N × k each, with k of 2 or more")
    return found


def holds_top_k(names: Collection[str]) -> bool:
    """Whether columns or arrays so called are such."""
    heads = [any(head.fullmatch(name.casefold()) for name in names) for head in _HEADS.values()]
    return all(heads) or {*TOP_K} <= {*map(str.casefold, names)}


def _of_table(table: Table) -> dict[str, Array]:
    lists = {name: k for name in TOP_K if (k := table.find(name)) is not None}
    if len(lists) == 2:
        return {name: table.array([k]) for name, k in lists.items()}
    found = {}
    for name, head in _HEADS.items():
        places = sorted(
            (int(match[1]), k)
            for k, column in enumerate(table.names)
            if (match := head.fullmatch(column.casefold()))
        )
        if [number for number, _ in places] != list(range(1, len(places) + 1)):
            raise InputError(f"{table.path}: the {name} are not numbered 1, 2 …: give {_FORM}")
        if places:
            found[name] = table.array([k for _, k in places])
    return found


def as_top_k(arrays: Mapping[str, Array], most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(classes int32 [N, k], probabilities [N, k]); InputError naming the first row whose classes
    are none of the `most` there are, or one twice, or whose probabilities do not descend."""
    of, array = arrays["classes"], arrays["probabilities"]
    p = as_numbers(array.read(), array)
    in_range(p, array)
    values = of.read()
    classes = values.astype(np.int32) if values.dtype.kind in "fiu" else np.zeros_like(p, np.int32)
    wrong = {
        "holds no whole number from 0 as a class": (classes != values) | (classes < 0),
        f"names a class beyond the {most or 0} there are": classes >= (most or np.inf),
        "names a class twice": _repeated(classes),
        "has probabilities that do not descend": np.diff(p, axis=1) > 0,
        "sums to more than 1": p.sum(axis=1, dtype=np.float64)[:, None] > 1 + sum_tolerance(p),
    }
    for what, where in wrong.items():
        if where.any():
            row = int(where.any(axis=1).argmax())
            raise InputError(
                f"{of.path}: {of.at(row)} {what}: give the most probable classes, numbered from 0, "
                "and their probabilities, largest first"
            )
    return classes, p


def _repeated(classes: np.ndarray) -> np.ndarray:
    """bool [N, k − 1]: the class of a place is that of a later one, or of [N, k] in order the next;
    to sort rows of a few takes longer than to compare all their places."""
    k = classes.shape[1]
    if k > _SORTED:
        return np.diff(np.sort(classes, axis=1), axis=1) == 0
    again = [(classes[:, i, None] == classes[:, i + 1 :]).any(axis=1) for i in range(k - 1)]
    return np.column_stack(again)
