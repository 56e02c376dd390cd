"""Files of arrays: npy, npz, pt, csv and parquet."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from cache import InputError


def read_array(path: str, words: Collection[str] = ()) -> np.ndarray:
    """An array from npy, npz (one array), pt (one tensor), csv (no header needed) or parquet.

    `words` are values; any other word on top of a csv is its header.
    """
    readers: dict[str, Callable[[str], np.ndarray]]
    readers = {**_READERS, ".csv": partial(_csv, words=words)}
    reader = readers.get(Path(path).suffix.lower())
    if reader is None:
        raise InputError(f"cannot read {path}: its name must end in {', '.join(readers)}")
    if not os.path.isfile(path):
        raise InputError(f"no file {path}: check the path")
    try:
        return reader(path)
    except InputError:
        raise
    except Exception as error:  # each library has its own zoo of errors for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"cannot read {path} ({reason[:120]}): check the file") from error


def columns_of(path: str) -> list[str]:
    """What the columns of a csv or parquet are called, but `sample_id`; empty without names."""
    readers = {".csv": _header, ".parquet": _fields}
    reader = readers.get(Path(path).suffix.lower())
    return [] if reader is None else [name for name in reader(path) if name != "sample_id"]


def _header(path: str) -> list[str]:
    return _first_line(path) if _has_header(path, ()) else []


def _fields(path: str) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.read_schema(path).names)


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


def _csv(path: str, words: Collection[str]) -> np.ndarray:
    import polars as pl

    table = pl.read_csv(path, has_header=_has_header(path, words), infer_schema_length=None)
    return _columns(table.to_arrow())


def _has_header(path: str, words: Collection[str]) -> bool:
    """Whether the first line is no data: words, or 0, 1, 2 …, as pandas heads nameless columns."""
    cells = _first_line(path)
    counted = len(cells) > 1 and cells == [str(k) for k in range(len(cells))]
    return counted or not all(cell in words or _is_number(cell) for cell in cells)


def _first_line(path: str) -> list[str]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


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
    ".parquet": _parquet,
}
