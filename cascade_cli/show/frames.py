"""Tables as files, by polars."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import polars as pl

from cascade_cli.show.text import FIGURE
from stages.results import columns_of, tidy

_FORMULA = re.compile(r"[=+\-@\t\r\n]")  # how a cell begins that a spreadsheet runs


def table_writers(
    rows: Sequence[Any], for_spreadsheets: bool
) -> dict[str, Callable[[BinaryIO], object]]:
    """What writes rows as a table, one column for each key or field, by the file's ending; a .csv
    without texts that a spreadsheet runs where that is asked for."""
    table = pl.DataFrame([tidy(columns_of(row)) for row in rows], infer_schema_length=None)
    plain = without_formulas(table) if for_spreadsheets else table
    return {".csv": plain.write_csv, ".parquet": table.write_parquet}


def without_formulas(table: pl.DataFrame) -> pl.DataFrame:
    """The table with `'` before each text, and name of a column, that begins as a formula does and
    is no number."""

    def harmless(text: str | None) -> str | None:
        return f"'{text}" if text and _FORMULA.match(text) and not FIGURE.fullmatch(text) else text

    texts = [
        column.map_elements(harmless, pl.String) if column.dtype == pl.String else column
        for column in table.iter_columns()
    ]
    return pl.DataFrame({str(harmless(column.name)): column for column in texts})
