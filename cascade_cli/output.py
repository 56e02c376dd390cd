"""What a command prints: a table or one JSON object on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from cascade_cli.streams import spelling_out, unshown
from stages.visible_text import HIDDEN, visible

if TYPE_CHECKING:
    import polars as pl

    from cache import InputError


def say(message: str) -> None:
    """A message about the work in one line, never part of the result."""
    print(visible(message), file=sys.stderr, flush=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object; NaN and infinities are null, as JSON has neither."""
    text = json.dumps(_plain(value), ensure_ascii=False)
    print(HIDDEN.sub(lambda one: f"\\u{ord(one[0]):04x}", text))


def print_text(text: str) -> None:
    """A paragraph, in lines of the terminal's width, of 100 characters at most."""
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    print(textwrap.fill(visible(text), width, break_long_words=False, break_on_hyphens=False))


def print_table(
    rows: Sequence[dict[str, Any]], columns: dict[str, str], file: TextIO | None = None
) -> None:
    """An aligned text table on stdout, or on `file`; of no rows, its headings.

    `columns` maps a row's key to its heading, with a format after `:`.
    {"accuracy": "top-1:.2%"} prints row["accuracy"] as a percentage under the heading top-1.
    """
    heads = [head.partition(":")[::2] for head in columns.values()]
    cells = [
        [_cell(row.get(key), style) for key, (_, style) in zip(columns, heads, strict=True)]
        for row in rows
    ]
    titles = [visible(title) for title, _ in heads]
    columns_of_text = list(zip(titles, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns_of_text]
    right = [all(map(_FIGURE.fullmatch, column[1:])) for column in columns_of_text]
    for line in [titles, *cells]:
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ]
        print("  ".join(padded).rstrip(), file=file)


@dataclass(frozen=True)
class TableFile:
    """Where a table goes, as .csv or .parquet by its name; `for_spreadsheets` is of a .csv, whose
    texts are then to be none that a spreadsheet runs."""

    path: str
    for_spreadsheets: bool = False


def table_file(path: str | None, for_spreadsheets: bool = False) -> TableFile | None:
    """InputError for a place that cannot be written, before anything is computed."""
    if path is None:
        return None
    check_output(path, (".csv", ".parquet"))
    return TableFile(path, for_spreadsheets and path.endswith(".csv"))


def write_rows(rows: Sequence[dict[str, Any]], to: TableFile | None) -> None:
    """Rows as a table, one column for each key; nothing where there is no place."""
    import polars as pl

    from stages.results import tidy

    if to is None:
        return
    table = pl.DataFrame([tidy(row) for row in rows], infer_schema_length=None)
    if to.for_spreadsheets:
        table = without_formulas(table)
    write_file(to.path, {".csv": table.write_csv, ".parquet": table.write_parquet})


def without_formulas(table: pl.DataFrame) -> pl.DataFrame:
    """The table with `'` before each text, and name of a column, that begins as a formula does and
    is no number."""
    import polars as pl

    def harmless(text: str | None) -> str | None:
        return f"'{text}" if text and _FORMULA.match(text) and not _FIGURE.fullmatch(text) else text

    texts = [
        column.map_elements(harmless, pl.String) if column.dtype == pl.String else column
        for column in table.iter_columns()
    ]
    return pl.DataFrame({str(harmless(column.name)): column for column in texts})


def write_file(path: str, writers: Mapping[str, Callable[[BinaryIO], object]]) -> None:
    """By the writer of the name's ending; InputError where the file cannot be written."""
    from cache.files import write_whole

    try:
        write_whole({Path(path): writers[Path(path).suffix]})
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise _unwritable(path, error) from error


def check_output(path: str, endings: Sequence[str]) -> None:
    """InputError for a file that could not be written, before anything is computed: of another
    ending, in a folder that is not there, or in place of what is not a regular file."""
    from cache import InputError
    from cache.files import check_replaceable

    if Path(path).suffix not in endings:
        raise InputError(f"cannot write {path}: its name must end in {' or '.join(endings)}")
    try:
        place = Path(path).resolve()
        check_replaceable(place)
        place.parent.stat()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: Exception) -> InputError:
    from cache import InputError

    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"cannot write {path}: {reason}; check --output")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total): a bar on a terminal, a plain line every ten seconds elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import Progress, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn())
        console = Console(file=unshown(sys.stderr))  # the bar moves the cursor
        with Progress(*columns, console=console, transient=True) as bar, spelling_out():
            task = bar.add_task(escape(visible(what)))
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    yield _plain_progress(what)


def _plain_progress(what: str, every_s: float = 10.0) -> Callable[[int, int], None]:
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            say(f"{what}: {done} of {total}")

    return tell


def _cell(value: Any, style: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return visible(", ".join(map(str, value))) or "–"
    return format(value, style) if style and not isinstance(value, str) else visible(str(value))


_FORMULA = re.compile(r"[=+\-@\t\r\n]")  # how a cell begins that a spreadsheet runs
_FIGURE = re.compile(r"–|[-+]?(\d[\d,]*(\.\d+)?(e[-+]\d+)?( ?[kMG]|%)?|inf|nan)")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
