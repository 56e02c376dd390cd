"""A table of several splits, or a long one, a row for each model and image → a table for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from cache import InputError
from stages.ingest.class_columns import LABELS, ORDER
from stages.ingest.frame_table import FrameTable, in_memory
from stages.ingest.request import named
from stages.ingest.tables import Table

_SPLIT, _MODEL = "split", "model"
_ROW = " row"  # no column's name begins so


def by_model(table: Table, split: str | None) -> Iterator[tuple[str, str, Table]]:
    """(split, model, its rows, numbered in the order of their sample_id) of a table that is long.

    The split is told by a column, of which `split` picks one, else by that. InputError where a
    model has an image twice, lacks one that another has, or another label of it.
    """
    whole = in_memory(table)
    frame = _keyed(whole, split, _MODEL, ORDER)
    _check(whole, frame)
    for part in frame.with_columns(_RANK).partition_by(_SPLIT, _MODEL, maintain_order=True):
        yield *part.select(_SPLIT, _MODEL).row(0), _part(whole, part.drop(_SPLIT, _MODEL))


def by_split(table: Table, split: str | None) -> Iterator[tuple[str, Table]]:
    """(split, its rows, numbered likewise) of a table of which a column tells the split."""
    whole = in_memory(table)
    frame = _keyed(whole, split)
    if ORDER in frame.columns:
        frame = frame.with_columns(_RANK)
    for part in frame.partition_by(_SPLIT, maintain_order=True):
        yield part[_SPLIT][0], _part(whole, part.drop(_SPLIT))


_RANK = pl.col(ORDER).rank("dense").over(_SPLIT).cast(pl.Int64) - 1


def _part(whole: FrameTable, rows: pl.DataFrame) -> FrameTable:
    """Some rows of it, without columns that are empty there."""
    numbers, left = rows[_ROW].to_numpy(), rows.drop(_ROW)
    left = left.select(name for name in left.columns if left[name].null_count() < len(left))
    names = tuple(left.columns)
    return FrameTable(
        *(whole.path, names, len(left), len(names), ""),
        *(left, lambda row: whole.place(int(numbers[row]))),
    )


def _keyed(whole: FrameTable, split: str | None, *keys: str) -> pl.DataFrame:
    """Its columns by their names, among them split and the `keys`; and the rows' places."""
    found = {whole.find(name): name for name in (_SPLIT, _MODEL, ORDER, *LABELS)}
    names = [found.get(k, name) for k, name in enumerate(whole.names)]
    frame = whole.frame.rename(dict(zip(whole.frame.columns, names, strict=True)))
    frame = frame.with_row_index(_ROW)
    if _SPLIT not in names:
        frame = frame.with_columns(pl.lit(named(split)).alias(_SPLIT))
    words = (name for name in (_SPLIT, _MODEL) if name in frame.columns)
    frame = frame.with_columns(pl.col(*words).cast(pl.String).str.strip_chars())
    for name in (_SPLIT, *keys):
        if empty := _first(frame, pl.col(name).is_null()):
            raise InputError(
                f"{whole.path}, {whole.at(empty[_ROW])}: the cell of column {name!r} is empty: "
                "mend it"
            )
    asked = frame if split is None else frame.filter(pl.col(_SPLIT) == split)
    if asked.is_empty():
        raise InputError(f"{whole.path} has no rows of split {split}: check --split")
    return asked


def _check(whole: FrameTable, frame: pl.DataFrame) -> None:
    """InputError for an image that a model has twice or not at all, or that has two labels."""
    image = (_SPLIT, ORDER)
    if twice := _first(frame, pl.struct(*image, _MODEL).is_duplicated()):
        raise InputError(f"{_of(whole, twice)} there twice: keep one row")
    models = pl.col(_MODEL).n_unique()
    if some := _first(frame, models.over(image) < models.over(_SPLIT)):
        there = frame.filter(pl.col(_SPLIT) == some[_SPLIT])
        lacks = there.join(there.filter(pl.col(ORDER) == some[ORDER]), on=_MODEL, how="anti")
        raise InputError(
            f"{_of(whole, some)} there and of {lacks[_MODEL][0]} not: give every model every image"
        )
    for label in (name for name in LABELS if name in frame.columns):
        if odd := _first(frame, pl.col(label) != pl.col(label).first().over(image)):
            same = (pl.col(name) == odd[name] for name in image)
            other = frame.filter(*same).row(0, named=True)
            raise InputError(
                f"{_of(whole, odd)} labelled {odd[label]}, and of {other[_MODEL]} {other[label]}: "
                "an image has one label"
            )


def _first(frame: pl.DataFrame, wrong: pl.Expr) -> dict[str, Any] | None:
    """The first row that is so."""
    return next(frame.filter(wrong).head(1).iter_rows(named=True), None)


def _of(whole: FrameTable, row: dict[str, Any]) -> str:
    return (
        f"{whole.path}, {whole.at(row[_ROW])}: sample {row[ORDER]} of split {row[_SPLIT]} and "
        f"model {row[_MODEL]} is"
    )
