"""Tables and pages that are written beside what is printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from cache import InputError, check_replaceable, write_whole
from cascade_cli.options.common import OutputOptions
from cascade_cli.show.text import FIGURE
from stages.results import columns_of, tidy

if TYPE_CHECKING:  # slow to import
    import polars as pl

_FORMULA = re.compile(r"[=+\-@\t\r\n]")  # how a cell begins that a spreadsheet runs


def check_table(to: OutputOptions) -> None:
    """InputError for a place that cannot be written, before anything is computed."""
    if to.output is not None:
        check_output(to.output, (".csv", ".parquet"))


def write_rows(rows: Sequence[Any], to: OutputOptions) -> None:
    """Rows as a table, one column for each key or field, a .csv without texts that a spreadsheet
    runs where that is asked for; nothing where there is no place."""
    if to.output is not None:
        import polars as pl  # slow to import

        table = pl.DataFrame([tidy(columns_of(row)) for row in rows], infer_schema_length=None)
        plain = without_formulas(table) if to.for_spreadsheets else table
        write_file(to.output, {".csv": plain.write_csv, ".parquet": table.write_parquet})


def without_formulas(table: pl.DataFrame) -> pl.DataFrame:
    """The table with `'` before each text, and name of a column, that begins as a formula does and
    is no number."""
    import polars as pl  # slow to import

    def harmless(text: str | None) -> str | None:
        return f"'{text}" if text and _FORMULA.match(text) and not FIGURE.fullmatch(text) else text

    texts = [
        column.map_elements(harmless, pl.String) if column.dtype == pl.String else column
        for column in table.iter_columns()
    ]
    return pl.DataFrame({str(harmless(column.name)): column for column in texts})


def write_file(path: str, writers: Mapping[str, Callable[[BinaryIO], object]]) -> None:
    """By the writer of the name's ending; InputError where the file cannot be written."""
    try:
        write_whole({Path(path): writers[Path(path).suffix]})
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise _unwritable(path, error) from error


def check_output(path: str, endings: Sequence[str]) -> None:
    """InputError for a file that could not be written, before anything is computed: of another
    ending, in a folder that is not there, or in place of what is not a regular file."""
    if Path(path).suffix not in endings:
        raise InputError(f"cannot write {path}: its name must end in {' or '.join(endings)}")
    try:
        place = Path(path).resolve()
        check_replaceable(place)
        place.parent.stat()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"cannot write {path}: {reason}; check --output")
