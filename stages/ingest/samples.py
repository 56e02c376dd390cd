"""Labels and class names from elsewhere → the samples of a split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Manifest, Provenance, Store, fingerprint_of, read_text
from stages.ingest.arrays import Array, NamedArrays, open_npy, open_npz, open_pt, opened
from stages.ingest.csv_table import read_csv
from stages.ingest.frame_table import FrameTable, in_memory
from stages.ingest.parquet_table import open_parquet
from stages.ingest.request import ImportRequest
from stages.ingest.tables import Table

Contents = NamedArrays | Table
OPENERS: dict[str, Callable[[str], Contents]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".pt": open_pt,
    ".csv": read_csv,
    ".parquet": open_parquet,
}
_NAMES = "class_names"
_NAMES_BYTES = 1 << 24


@dataclass(frozen=True)
class Labels:
    """int32 [N], the dataset's fingerprint, and what writes that which the cache lacks of them;
    `odd` are warnings. Where nobody knows the labels all are UNLABELLED."""

    values: np.ndarray
    fingerprint: str
    keep: Callable[[], Any]
    odd: Sequence[str] = ()

    @property
    def known(self) -> bool:
        return not cache.unlabelled(self.values)


@dataclass(frozen=True)
class _Given:
    """int32 [N] of an array that counts its labels from `first`."""

    array: Array
    values: np.ndarray
    first: int

    @property
    def odd(self) -> tuple[str, ...]:
        said = f"the labels of {self.array.path} are counted from 1, so 1 is subtracted of each"
        return (said,) if self.first else ()


def open_contents(path: str, words: Collection[str] = ()) -> Contents:
    """What a file holds, of which little was read; InputError for one that cannot be read.

    `words` are values; any other word on top of a csv is its header.
    """
    return opened(path, OPENERS | {".csv": partial(read_csv, words=words)})


def open_frame(path: str) -> FrameTable:
    """A table of words and numbers, as they stand: a csv, or Parquet."""
    openers: dict[str, Callable[[str], Table]] = {
        ".csv": partial(read_csv, as_text=True),
        ".parquet": open_parquet,
    }
    return in_memory(opened(path, openers))


def class_names(request: ImportRequest, known: Manifest | None) -> tuple[str, ...]:
    """Those given, else those that the cache has; none where neither tells."""
    given = read_names(request.class_names)
    return given or tuple((known and known.provenance.get(_NAMES)) or ())


def labels_of(
    store: Store,
    request: ImportRequest,
    known: Manifest | None,
    beside: Array | None,
    logits: Array,
    told: Sequence[str] = (),
) -> Labels:
    """The labels given, beside the logits or in the cache, held against each other; `told` are the
    classes' names where only the file tells them.

    The logits themselves are not read, and nothing is written yet.
    """
    names, classes = class_names(request, known) or tuple(told), logits.shape[1]
    given_names = names if request.class_names is not None or told else ()
    if given_names and len(names) != classes:
        raise InputError(
            f"{request.class_names} names {len(names)} classes but the logits have {classes}"
        )
    _in_order(logits, names)
    given = None if request.unlabelled else _given(request, beside, logits, names)
    _check_known(request, known, given)
    if known is None or (given is not None and not cache.intact(store, known)):
        if given is None and request.unlabelled:
            given = _Given(logits, np.full(logits.shape[0], cache.UNLABELLED, np.int32), 0)
        if given is None:
            raise InputError(
                f"the cache has no {request.samples}: give --labels FILE, or --unlabelled where "
                "nobody knows the labels"
            )
        return _new(store, request, given, given_names)
    if request.keys is not None:
        _same_keys(store, request, known)
    table = cache.read_table(store, known, ["sample_id", "label"])
    stored = cache.labels_in(table)
    n = logits.shape[0]
    if len(stored) != n:
        raise InputError(
            f"{logits.path} has {n} rows but the cache has {len(stored)} samples"
            f"{_heading(logits, n - len(stored))}"
        )
    if given is not None:
        if request.labels_from is None and np.array_equal(given.values - 1, stored):
            given = replace(given, values=stored, first=1)
        hint = "put the rows in the cache's order, or give another --dataset"
        _same_labels(given, known.partition, stored, hint)
    if stored.max() >= classes:
        raise InputError(f"{logits.path} has {classes} classes, labels go to {stored.max()}")
    _same_names(request, known, given_names)
    keep, odd = partial(_name, store, known, given_names), given.odd if given else ()
    return Labels(stored, str(known.fingerprint), keep, odd)


def _check_known(request: ImportRequest, known: Manifest | None, given: _Given | None) -> None:
    """InputError for labels of a split that the cache has without any, or the other way round."""
    if known is not None and known.labelled and request.unlabelled:
        raise InputError(
            f"the cache has {known.partition} with labels: leave out --unlabelled, or give another "
            "--split"
        )
    if known is not None and not known.labelled and given is not None:
        raise InputError(
            f"the cache has {known.partition} without labels: give --unlabelled, which leaves "
            f"those of {given.array.path} out, or another --split"
        )


def _same_keys(store: Store, request: ImportRequest, known: Manifest) -> None:
    """InputError where the cache's images are not those of the request's keys, in their order."""
    keys = cache.read_table(store, known, ["key"]).column("key").to_pylist()
    if keys != [*(request.keys or ())]:
        raise InputError(
            f"{request.file} has {len(request.keys or ())} labelled requests that are not the "
            f"{len(keys)} samples of {known.partition} in the cache: give another --split, or "
            "remove that one (`cascade cache rm`)"
        )


def labels_beside(request: ImportRequest, contents: Contents, names: Sequence[str]) -> Array | None:
    """The labels in the logits' file; InputError where they were asked for and are not there."""
    asked = request.label_column if request.labels is None else None
    found = asked or contents.label_name(request.label_column, names)
    return None if found is None else contents.labels(found)


def _given(
    request: ImportRequest, beside: Array | None, logits: Array, names: Sequence[str]
) -> _Given | None:
    """Labels of a file of theirs and of a column beside the logits, which have to be the same."""
    arrays = [] if beside is None else [beside]
    if request.labels is not None:
        arrays.insert(0, open_contents(request.labels, names).labels(request.label_column))
    found = [as_labels(array, logits, names, request.labels_from) for array in arrays]
    for each in found[1:]:
        _same_labels(found[0], each.array.path, each.values, "put the rows in one order")
    return found[0] if found else None


def _same_labels(given: _Given, there: object, labels: np.ndarray, hint: str) -> None:
    array, values = given.array, given.values
    if not np.array_equal(values, labels):
        row = int((values != labels).argmax())
        raise InputError(
            f"{array.path}: {array.at(row)} has label {values[row]} but {there} has {labels[row]}: "
            f"{hint}"
        )


def as_labels(
    array: Array,
    logits: Array,
    names: Sequence[str] = (),
    first: int | None = None,
    what: str = "label",
) -> _Given:
    """int32 [N] in [0, K) for logits N × K, or an InputError naming the row; words where they are
    `names`. Where nobody says which is the `first`, labels 1 … K are counted from 1."""
    classes = logits.shape[1]
    _told_apart(array.path, names)
    _check_count(array, logits)
    values = array.read().reshape(-1)
    if values.dtype.kind in "OSU":
        values, first = _numbered(values, array, classes, names), 0
    if values.dtype.kind not in "fiu":
        raise InputError(f"{array.path} holds {values.dtype}: labels are N whole numbers")
    if first is None:
        first = int(values.min() == 1 and values.max() == classes)
    last = classes - 1 + first
    bad = ~((values >= first) & (values <= last) & (values == np.floor(values)))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{array.path}: {array.at(row)} has {what} {values[row]}, expected {first} to {last}"
        )
    return _Given(array, values.astype(np.int32) - np.int32(first), first)


def _check_count(array: Array, logits: Array) -> None:
    """InputError for an array that is not of N values, before it is read."""
    (n, classes), count = logits.shape, math.prod(array.shape)
    if not array.shape or max(array.shape) != count:
        raise InputError(f"{array.path} has shape {array.shape}: labels are N whole numbers")
    if count != n:
        turned = ": are the logits K × N? They are to be N × K" if count == classes else ""
        raise InputError(
            f"{array.path} has {count} labels but there are {n} rows of logits"
            f"{turned or _heading(array, count - n) or _heading(logits, n - count)}"
        )


def _heading(array: Array, more: int) -> str:
    """What to say of an array that has so many rows more, where that may be its first line."""
    read_as = {1: "data: if it is a heading, write words there", -1: _AS_HEADING}.get(more)
    if not read_as or not array.first_line or bool(array.columns) != (more < 0):
        return ""
    return f": line 1 of {array.path} ({array.first_line}) was read as {read_as}"


_AS_HEADING = "a heading: if it is data, write a heading of words above it"


def _told_apart(where: str, names: Sequence[str]) -> None:
    """InputError for a csv, which says not whether 3 is a column or a name, where both may be."""
    columns = [str(number) for number in range(len(names))]
    if where.lower().endswith(".csv") and list(names) != columns and set(names) & set(columns):
        number = next(name for name in names if name in columns)
        raise InputError(
            f"{where}: with class names such as {number!r} a label may be a column or a name: save "
            "the labels as npy, numbers for columns, words for names"
        )


def _numbered(values: np.ndarray, array: Array, classes: int, names: Sequence[str]) -> np.ndarray:
    """Words [N] → their places among `names`."""
    words = [
        each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in values
    ]
    if not names:
        raise InputError(
            f"{array.path} holds words such as {words[0][:40]!r}, labels are N whole numbers: "
            f"encode them as 0…{classes - 1} in the order of the logits' columns, or give "
            "--class-names FILE"
        )
    numbers = {name: number for number, name in enumerate(names)}
    for row, word in enumerate(words):
        if word not in numbers:
            raise InputError(
                f"{array.path}: {array.at(row)} is {word[:40]!r}, which is no class name"
            )
    return np.array([numbers[word] for word in words], np.int32)


def read_names(path: str | None) -> tuple[str, ...]:
    """A text file with one class name a line, in the order of the logits' columns."""
    if path is None:
        return ()
    names = [name.strip() for name in read_text(path, _NAMES_BYTES).rstrip().splitlines()]
    if not names:
        raise InputError(f"{path} names no class: give one class name a line")
    twice = sorted({name for name, times in Counter(names).items() if times > 1 or not name})
    if twice:
        raise InputError(f"{path}: {twice[0]!r} cannot name one class: name each once")
    return tuple(names)


def _new(store: Store, request: ImportRequest, given: _Given, names: Sequence[str]) -> Labels:
    """Of samples known by their keys, or by their position alone."""
    table, fingerprint = _samples(given.values.tobytes(), request.keys)
    identity = {"dataset_fingerprint": fingerprint}
    about: Provenance = {"made": cache.now(), "versions": cache.versions(), "layout": "import"}
    about |= cache.told_unlabelled(given.values)
    about[_NAMES] = list(names) or None
    keep = partial(cache.write_partition, store, request.samples, table, identity, about)
    return Labels(given.values, fingerprint, lru_cache(keep), given.odd)


@lru_cache(maxsize=1)
def _samples(labels: bytes, given: tuple[str, ...] | None) -> tuple[pa.Table, str]:
    """Samples of int32 labels, and their fingerprint: of many models they are the same."""
    values = np.frombuffer(labels, np.int32)
    keys = [f"row/{i}" for i in range(len(values))] if given is None else list(given)
    table = cache.samples_table(np.arange(len(values)), values, keys)
    return table, fingerprint_of(values, keys)


def _in_order(logits: Array, names: Sequence[str]) -> None:
    """InputError where the logits' columns are called as the classes are, in another order.

    0, 1, 2 … says nothing, as that is how pandas heads nameless columns.
    """
    columns = list(logits.columns)
    if set(columns) != set(names) or columns == [str(k) for k in range(len(names))]:
        return
    for number, (column, name) in enumerate(zip(columns, names, strict=True)):
        if column != name:
            raise InputError(
                f"{logits.path}: column {number} is headed {column!r}, class {number} is {name!r}: "
                "put the class names, and the numbers of the labels, in the order of the columns"
            )


def _same_names(request: ImportRequest, known: Manifest, names: Sequence[str]) -> None:
    """Names that are not those of the cache are most likely columns in another order."""
    stored = known.provenance.get(_NAMES) or names
    for number, (old, new) in enumerate(zip(stored, names, strict=False)):
        if old != new:
            raise InputError(
                f"{request.class_names}: class {number} is {new!r} but the cache calls it {old!r}: "
                "put the names, and the logits' columns, in the cache's order"
            )


def _name(store: Store, known: Manifest, names: Sequence[str]) -> None:
    """Give the classes of known samples these names, if any."""
    if names:
        with cache.lock(store, known.partition.guard):
            cache.restate(store, known, **{_NAMES: list(names)})
