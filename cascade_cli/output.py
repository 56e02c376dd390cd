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
from pathlib import Path
from typing import Any, BinaryIO


def say(message: str) -> None:
    """A message about the work, never part of the result."""
    print(message, file=sys.stderr, flush=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object; NaN and infinities are null, as JSON has neither."""
    print(json.dumps(_plain(value), ensure_ascii=False))


def print_text(text: str) -> None:
    """A paragraph, in lines of the terminal's width, of 100 characters at most."""
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    print(textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False))


def print_table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> None:
    """An aligned text table; `columns` maps a row's key to its heading, with a format after `:`.

    {"accuracy": "top-1:.2%"} prints row["accuracy"] as a percentage under the heading top-1.
    """
    heads = [head.partition(":")[::2] for head in columns.values()]
    cells = [
        [_cell(row.get(key), style) for key, (_, style) in zip(columns, heads, strict=True)]
        for row in rows
    ]
    grid = [[title for title, _ in heads], *cells]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    right = [all(map(_FIGURE.fullmatch, column)) for column in zip(*cells, strict=True)]
    for line in grid:
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ]
        print("  ".join(padded).rstrip())


def write_rows(rows: Sequence[dict[str, Any]], path: str) -> None:
    """Rows as .csv or .parquet, by the file's name."""
    import polars as pl

    from stages.results import tidy

    check_table_file(path)
    table = pl.DataFrame([tidy(row) for row in rows], infer_schema_length=None)
    write_file(path, {".csv": table.write_csv, ".parquet": table.write_parquet})


def write_file(path: str, writers: Mapping[str, Callable[[BinaryIO], object]]) -> None:
    """By the writer of the name's ending; InputError where the file cannot be written."""
    from cache import InputError
    from cache.files import write_whole

    try:
        write_whole({Path(path): writers[Path(path).suffix]})
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot write {path}: {reason}; check --output") from error


def check_table_file(path: str | None) -> None:
    """InputError for a name that `write_rows` cannot write, before anything is computed."""
    from cache import InputError

    if path is not None and Path(path).suffix not in (".csv", ".parquet"):
        raise InputError(f"cannot write {path}: its name must end in .csv or .parquet")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total): a bar on a terminal, a plain line every ten seconds elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what)
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
        return ", ".join(map(str, value)) or "–"
    return format(value, style) if style and not isinstance(value, str) else str(value)


_FIGURE = re.compile(r"–|[-+]?(\d[\d,]*(\.\d+)?(e[-+]\d+)?( ?[kMG]|%)?|inf|nan)")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
