"""Labels and class names from elsewhere → the samples of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cache
from cache import InputError, Manifest, Partition, Store
from cache.provenance import now, versions
from cache.schema import samples_table
from stages.arrays import columns_of, read_array
from stages.datasets import ArraySource, fingerprint

if TYPE_CHECKING:
    from stages.importing import Request

_NAMES = "class_names"


@dataclass(frozen=True)
class Labels:
    """int32 [N], the dataset's fingerprint, and what writes that which the cache lacks of them."""

    values: np.ndarray
    fingerprint: str
    keep: Callable[[], Any]


def checked(store: Store, request: Request, logits: np.ndarray) -> Labels:
    """The labels given, or the cache's, held against each other; writes nothing yet."""
    n, classes = logits.shape
    names = read_names(request.class_names, classes)
    partition = Partition.of("samples", dataset=request.dataset, split=request.split)
    known = cache.load(store, partition)
    _in_order(request.logits, names or (known and known.provenance.get(_NAMES)) or ())
    given = None
    if request.labels is not None:
        values = read_array(request.labels, names)
        given = as_labels(values, request.labels, n, classes, names)
    if known is None or (given is not None and not cache.intact(store, known)):
        if given is None:
            raise InputError(f"the cache has no {partition}: give --labels FILE")
        return _new(store, request, partition, given, names)
    table = cache.read_table(store, known, ["sample_id", "label"])
    stored = table.column("label").to_numpy()
    _same_rows(request, partition, given, stored, logits)
    _same_names(request, known, names)
    return Labels(stored, str(known.fingerprint), partial(_name, store, known, names))


def _same_rows(
    request: Request,
    partition: Partition,
    given: np.ndarray | None,
    stored: np.ndarray,
    logits: np.ndarray,
) -> None:
    n, classes = logits.shape
    if len(stored) != n:
        raise InputError(f"{request.logits} has {n} rows but the cache has {len(stored)} samples")
    if given is not None and not np.array_equal(given, stored):
        row = int((given != stored).argmax())
        raise InputError(
            f"{request.labels}: row {row} has label {given[row]} but {partition} has "
            f"{stored[row]}: put the rows in the cache's order, or give another --dataset"
        )
    if stored.max() >= classes:
        raise InputError(f"{request.logits} has {classes} classes, labels go to {stored.max()}")


def as_labels(
    values: np.ndarray, where: str, n: int, classes: int, names: Sequence[str] = ()
) -> np.ndarray:
    """int32 [n] in [0, classes), or an InputError naming the row; words where they are `names`."""
    values = values.reshape(-1) if values.ndim == 2 and 1 in values.shape else values
    _told_apart(where, names)
    if values.dtype.kind in "OSU" and values.ndim == 2:
        told = f" ({', '.join(columns_of(where))})" if columns_of(where) else ""
        raise InputError(
            f"{where} has {values.shape[1]} columns{told}: keep that of the labels only"
        )
    if values.dtype.kind in "OSU":
        values = _numbered(values, where, classes, names)
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise InputError(f"{where} is {values.dtype} {values.shape}: labels are N whole numbers")
    if len(values) != n:
        turned = ": are the logits K × N? They are to be N × K" if len(values) == classes else ""
        raise InputError(
            f"{where} has {len(values)} labels but there are {n} rows of logits{turned}"
        )
    bad = ~((values >= 0) & (values < classes) & (values == np.floor(values)))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{where}: row {row} has label {values[row]}, expected 0 to {classes - 1}")
    return values.astype(np.int32)


def _told_apart(where: str, names: Sequence[str]) -> None:
    """InputError for a csv, which says not whether 3 is a column or a name, where both may be."""
    columns = [str(number) for number in range(len(names))]
    if where.lower().endswith(".csv") and list(names) != columns and set(names) & set(columns):
        number = next(name for name in names if name in columns)
        raise InputError(
            f"{where}: with class names such as {number!r} a label may be a column or a name: save "
            "the labels as npy, numbers for columns, words for names"
        )


def _numbered(values: np.ndarray, where: str, classes: int, names: Sequence[str]) -> np.ndarray:
    """Words → their places among `names`."""
    if not names:
        raise InputError(
            f"{where} holds words such as {str(values.flat[:1])[:40]}, labels are N whole numbers: "
            f"encode them as 0…{classes - 1} in the order of the logits' columns, or give "
            "--class-names FILE"
        )
    numbers = {name: number for number, name in enumerate(names)}
    words = [each.decode() if isinstance(each, bytes) else str(each) for each in values.flat]
    unknown = [row for row, word in enumerate(words) if word not in numbers]
    if unknown:
        row = unknown[0]
        raise InputError(f"{where}: row {row} is {words[row][:40]!r}, which is no class name")
    return np.array([numbers[word] for word in words], np.int32).reshape(values.shape)


def read_names(path: str | None, classes: int) -> tuple[str, ...]:
    """A text file with one class name a line, in the order of the logits' columns."""
    if path is None:
        return ()
    try:
        names = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"cannot read {path} ({reason}): give one class name a line") from error
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if len(names) != classes:
        raise InputError(f"{path} names {len(names)} classes but the logits have {classes}")
    twice = sorted({name for name in names if names.count(name) > 1 or not name})
    if twice:
        raise InputError(f"{path}: {twice[0]!r} cannot name one class: name each once")
    return tuple(names)


def _new(
    store: Store, request: Request, partition: Partition, labels: np.ndarray, names: Sequence[str]
) -> Labels:
    """Of samples known by their position alone."""
    keys = [f"row/{i}" for i in range(len(labels))]
    source = ArraySource(
        dataset=request.dataset,
        split=request.split,
        layout="import",
        keys=keys,
        labels=labels,
        pictures=np.zeros((len(labels), 0, 0), np.uint8),
    )
    table = samples_table(np.arange(len(labels)), labels, keys)
    identity = {"dataset_fingerprint": fingerprint(source)}
    about: dict[str, Any] = {"made": now(), "versions": versions(), "layout": "import"}
    about[_NAMES] = list(names) or None
    keep = partial(cache.write_partition, store, partition, table, identity, about)
    return Labels(labels, identity["dataset_fingerprint"], keep)


def _in_order(where: str, names: Sequence[str]) -> None:
    """InputError where the logits' columns are called as the classes are, in another order.

    0, 1, 2 … says nothing, as that is how pandas heads nameless columns.
    """
    columns = columns_of(where)
    if set(columns) != set(names) or columns == [str(k) for k in range(len(names))]:
        return
    for number, (column, name) in enumerate(zip(columns, names, strict=True)):
        if column != name:
            raise InputError(
                f"{where}: column {number} is headed {column!r}, class {number} is {name!r}: put "
                "the class names, and the numbers of the labels, in the order of the columns"
            )


def _same_names(request: Request, known: Manifest, names: Sequence[str]) -> None:
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
