"""Tables and pages that are written beside what is printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from cache import InputError, check_replaceable, write_whole
from cascade_cli.options.common import OutputOptions


def check_table(to: OutputOptions) -> None:
    """InputError for a place that cannot be written, before anything is computed."""
    if to.output is not None:
        check_output(to.output, (".csv", ".parquet"))


def write_rows(rows: Sequence[Any], to: OutputOptions) -> None:
    """Rows as a table, one column for each key or field; nothing where there is no place."""
    if to.output is not None:
        from cascade_cli.show.frames import table_writers  # polars, which is slow to import

        write_file(to.output, table_writers(rows, to.for_spreadsheets))


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
