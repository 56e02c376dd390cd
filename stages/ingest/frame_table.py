"""A table in memory, as a csv always is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cache import InputError
from stages.ingest.arrays import fits, unreadable
from stages.ingest.tables import NUMBERS, Table

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class FrameTable(Table):
    """A table in memory; `place` names that of a row in the file."""

    frame: pl.DataFrame
    place: Callable[[int], str]

    def at(self, row: int) -> str:
        return self.place(row)

    def kind(self, k: int) -> str:
        column = self.frame.to_series(k)
        words = self._numbers(k).null_count() - column.null_count()
        if 2 * words <= len(column) - column.null_count():
            return NUMBERS
        return f"words such as {str(column.drop_nulls().first())[:40]!r}"

    def columns(self, ks: Sequence[int]) -> list[np.ndarray]:
        return [self._column(k) for k in ks]

    def _column(self, k: int) -> np.ndarray:
        import polars as pl

        column = self.frame.to_series(k)
        is_number = self.kind(k) == NUMBERS
        values = self._numbers(k) if is_number else column.cast(pl.String).str.strip_chars()
        lacking = values.is_null()
        if lacking.any():
            row = lacking.arg_max() or 0
            cell = str(column[row] or "").strip()[:40]
            told = f"holds {cell!r}, which is no number" if cell else "is empty"
            raise InputError(
                f"{self.path}, {self.at(row)}: the cell of {self.heading(k)} {told}: mend it, "
                "or leave the row out of all files"
            )
        return values.to_numpy()

    def _numbers(self, k: int) -> pl.Series:
        """Null where a cell is none."""
        import polars as pl

        column = self.frame.to_series(k)
        if column.dtype.is_numeric() and column.dtype not in (pl.Int128, pl.Decimal):
            return column
        return column.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)


def in_memory(table: Table) -> FrameTable:
    """The whole of a file's table, as a csv always is."""
    import polars as pl

    if isinstance(table, FrameTable):
        return table
    fits(table.path, os.path.getsize(table.path), "rows")
    given = (table.path, table.names, table.rows, table.width, "")
    with unreadable(table.path):
        return FrameTable(*given, pl.read_parquet(table.path), table.at)
