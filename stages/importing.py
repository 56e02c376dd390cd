"""Logits from elsewhere → the cache, as if extracted; their runtime is `import`."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Partition, PartitionWriter, Store
from cache.provenance import now, versions
from cache.schema import PART_ROWS, SAMPLES, logits_schema
from stages import import_checks
from stages.datasets import ArraySource, fingerprint

RUNTIME = "import"


@dataclass(frozen=True)
class Request:
    """`logits` and `labels` are files; without labels the split must be in the cache already."""

    dataset: str
    split: str
    model: str
    logits: str
    labels: str | None = None
    trained_on: tuple[str, ...] = ("train",)
    trained_on_source: str = "assumed"
    macs: int | None = None
    overwrite: bool = False


def run(
    store: Store, request: Request, note: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Import one model's logits of one split; InputError for arrays that cannot be such.

    `note` is told what is odd about them.
    """
    keys = {"dataset": request.dataset, "split": request.split, "variant": "identity"}
    partition = Partition.of("logits", **keys, runtime=RUNTIME, model=request.model)
    logits = as_logits(read_array(request.logits), request.logits)
    others = import_checks.siblings(store, partition)
    import_checks.same_classes(others, request.logits, logits.shape[1])
    labels, print_ = _labels(store, request, logits)
    for odd in import_checks.oddities(store, request, logits, _sha256(logits), others):
        note(f"warning: {odd}")
    with cache.lock(store, partition.guard):
        _write_logits(store, partition, request, logits, print_)
    return {
        "model": request.model,
        "split": request.split,
        "variant": "identity",
        "runtime": RUNTIME,
        "rows": len(logits),
        "accuracy": float((logits.argmax(axis=1) == labels).mean()),
    }


def _write_logits(
    store: Store, partition: Partition, request: Request, logits: np.ndarray, print_: str
) -> None:
    identity = {
        "dataset_fingerprint": print_,
        "logits_sha256": _sha256(logits),
        "classes": logits.shape[1],
    }
    provenance = {
        "made": now(),
        "versions": versions(),
        "source": Path(request.logits).name,
        "trained_on": {"splits": list(request.trained_on), "source": request.trained_on_source},
        "macs": request.macs,
    }
    schema = logits_schema(logits.shape[1])
    writer = PartitionWriter(
        store, partition, schema, identity, provenance, overwrite=request.overwrite
    )
    if not writer.complete:
        starts = range(0, len(logits), PART_ROWS)
        for part, start in enumerate(starts):
            rows = logits[start : start + PART_ROWS]
            ids = np.arange(start, start + len(rows))
            column = pa.FixedSizeListArray.from_arrays(
                pa.array(rows.reshape(-1)), type=schema.field("logits").type
            )
            writer.write(part, pa.table([ids, column], schema=schema))
        writer.finish(len(starts))
    writer.restate("trained_on", "macs")


def _sha256(logits: np.ndarray) -> str:
    return hashlib.sha256(logits.data).hexdigest()


def as_logits(values: np.ndarray, where: str) -> np.ndarray:
    """float32 [N, K] with N ≥ 1, K ≥ 2 and finite values, or an InputError naming the row."""
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise InputError(f"{where} has shape {values.shape}: logits are N × K, with K of 2 or more")
    if values.dtype.kind not in "fiu":
        raise InputError(f"{where} holds {values.dtype}, not numbers")
    finite = np.isfinite(values).all(axis=1)
    with np.errstate(over="ignore"):
        logits = np.ascontiguousarray(values, dtype=np.float32)
    finite &= np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise InputError(f"{where}: row {int(finite.argmin())} has a NaN or infinite logit")
    return logits


def as_labels(values: np.ndarray, where: str, n: int, classes: int) -> np.ndarray:
    """int32 [n] in [0, classes), or an InputError naming the row."""
    values = values.reshape(-1) if values.ndim == 2 and 1 in values.shape else values
    if values.dtype.kind in "OSU":
        raise InputError(
            f"{where} holds words such as {str(values.flat[:1])[:40]}, labels are N whole numbers: "
            f"encode them as 0…{classes - 1} in the order of the logits' columns"
        )
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise InputError(f"{where} is {values.dtype} {values.shape}: labels are N whole numbers")
    if len(values) != n:
        raise InputError(f"{where} has {len(values)} labels but there are {n} rows of logits")
    bad = ~((values >= 0) & (values < classes) & (values == np.floor(values)))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{where}: row {row} has label {values[row]}, expected 0 to {classes - 1}")
    return values.astype(np.int32)


def _labels(store: Store, request: Request, logits: np.ndarray) -> tuple[np.ndarray, str]:
    """The split's labels and dataset fingerprint: the cache's, held against those given."""
    n, classes = logits.shape
    partition = Partition.of("samples", dataset=request.dataset, split=request.split)
    known = cache.load(store, partition)
    given = None
    if request.labels is not None:
        given = as_labels(read_array(request.labels), request.labels, n, classes)
    if known is None or (given is not None and not cache.intact(store, known)):
        if given is None:
            raise InputError(f"the cache has no {partition}: give --labels FILE")
        return given, _write_samples(store, request, partition, given)
    table = cache.read_table(store, known, ["sample_id", "label"])
    stored = table.column("label").to_numpy()
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
    return stored, str(known.fingerprint)


def _write_samples(store: Store, request: Request, partition: Partition, labels: np.ndarray) -> str:
    """Samples known by their position alone."""
    keys = [f"row/{i}" for i in range(len(labels))]
    source = ArraySource(
        dataset=request.dataset,
        split=request.split,
        layout="import",
        keys=keys,
        labels=labels,
        pictures=np.zeros((len(labels), 0, 0), np.uint8),
    )
    table = pa.table([np.arange(len(labels)), labels, keys], schema=SAMPLES)
    identity = {"dataset_fingerprint": fingerprint(source)}
    about = {"made": now(), "versions": versions(), "layout": "import"}
    cache.write_partition(store, partition, table, identity, about)
    return identity["dataset_fingerprint"]


def read_array(path: str) -> np.ndarray:
    """An array from npy, npz (one array), pt (one tensor), csv (no header needed) or parquet."""
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise InputError(f"cannot read {path}: its name must end in {', '.join(_READERS)}")
    if not os.path.isfile(path):
        raise InputError(f"no file {path}: check the path")
    try:
        return reader(path)
    except InputError:
        raise
    except Exception as error:  # each library has its own zoo of errors for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"cannot read {path} ({reason[:120]}): check the file") from error


def _numpy(path: str) -> np.ndarray:
    with open(path, "rb") as file:
        value = np.load(file, allow_pickle=False)
        if isinstance(value, np.ndarray):
            return value
        if len(value.files) != 1:
            raise InputError(f"{path} holds {len(value.files)} arrays: save exactly one")
        return np.asarray(value[value.files[0]])


def _pt(path: str) -> np.ndarray:
    from stages.models.factory import require_torch

    require_torch()
    import torch

    value = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(value, torch.Tensor):
        raise InputError(f"{path} holds a {type(value).__name__}: save one tensor")
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).numpy()


def _csv(path: str) -> np.ndarray:
    import polars as pl

    table = pl.read_csv(path, has_header=_has_header(path), infer_schema_length=None)
    return _columns(table.to_arrow())


def _has_header(path: str) -> bool:
    """Whether the first line is no data: words, or 0, 1, 2 …, as pandas heads nameless columns."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        cells = next(csv.reader(file), [])
    counted = len(cells) > 1 and cells == [str(k) for k in range(len(cells))]
    return counted or not all(_is_number(cell) for cell in cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: str) -> np.ndarray:
    import pyarrow.parquet as pq

    return _columns(pq.ParquetFile(path).read())


def _columns(table: pa.Table) -> np.ndarray:
    """One list column [N, K], or K number columns; a leading sample_id orders the rows."""
    if "sample_id" in table.column_names:
        table = table.sort_by("sample_id")
        if table.column("sample_id").to_pylist() != list(range(table.num_rows)):
            raise ValueError("its sample_id are not 0, 1, 2 …, each once")
        table = table.drop_columns(["sample_id"])
    if {"", "Unnamed: 0", "__index_level_0__"}.intersection(table.column_names):
        raise ValueError("one column is a row index, save the table without it")
    columns = [column.combine_chunks() for column in table.columns]
    if any(column.null_count for column in columns):
        raise ValueError("it has empty cells")
    if len(columns) == 1 and pa.types.is_nested(columns[0].type):
        return np.array(columns[0].to_pylist())
    return np.column_stack([column.to_numpy(zero_copy_only=False) for column in columns])


_READERS: dict[str, Callable[[str], np.ndarray]] = {
    ".npy": _numpy,
    ".npz": _numpy,
    ".pt": _pt,
    ".csv": _csv,
    ".parquet": _parquet,
}
