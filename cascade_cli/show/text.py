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
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from types import MappingProxyType
from typing import Any, TextIO

from cascade_cli.show.streams import spelling_out, unshown
from stages.notices import HIDDEN, visible


def say(*messages: str) -> None:
    """Messages about the work, each in one line, never part of the result."""
    for message in messages:
        print(visible(message), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON object, of a dict or a dataclass; NaN and infinities are null."""
    text = json.dumps(_plain(value), ensure_ascii=False)
    print(HIDDEN.sub(lambda one: f"\\u{ord(one[0]):04x}", text))


NONE: Mapping[str, str] = MappingProxyType({})
_SHORTER: ContextVar[Mapping[str, str]] = ContextVar("shorter", default=NONE)


@contextmanager
def shortened(shorter: Mapping[str, str]) -> Iterator[None]:
    """What is printed within, as text or table, has the values in place of the keys."""
    token = _SHORTER.set(shorter)
    try:
        yield
    finally:
        _SHORTER.reset(token)


def _shown(text: str) -> str:
    for long, short in _SHORTER.get().items():
        text = text.replace(long, short)
    return visible(text)


def print_text(text: str) -> None:
    """A paragraph, in lines of the terminal's width, of 100 characters at most."""
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    print(textwrap.fill(_shown(text), width, break_long_words=False, break_on_hyphens=False))


def print_table(rows: Sequence[Any], columns: dict[str, str], file: TextIO | None = None) -> None:
    """An aligned text table on stdout, or on `file`; of no rows, its headings.

    A row is a dataclass or a dict; `columns` maps its field or key to a heading, with a format
    after `:`.
    {"accuracy": "top-1:.2%"} prints row["accuracy"] as a percentage under the heading top-1.
    """
    heads = [head.partition(":")[::2] for head in columns.values()]
    cells = [
        [_cell(_of(row, key), style) for key, (_, style) in zip(columns, heads, strict=True)]
        for row in map(_told, rows)
    ]
    titles = [_shown(title) for title, _ in heads]
    columns_of_text = list(zip(titles, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns_of_text]
    right = [all(map(FIGURE.fullmatch, column[1:])) for column in columns_of_text]
    for line in [titles, *cells]:
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ]
        print("  ".join(padded).rstrip(), file=file)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total): a bar on a terminal, a plain line every ten seconds elsewhere."""
    if sys.stderr.isatty():
        # 20 ms of every start, for what only long work on a terminal shows.
        from rich import console, markup, progress as bars

        columns = (*bars.Progress.get_default_columns()[:3], bars.TimeRemainingColumn())
        stderr = console.Console(file=unshown(sys.stderr))  # the bar moves the cursor
        with bars.Progress(*columns, console=stderr, transient=True) as bar, spelling_out():
            task = bar.add_task(markup.escape(visible(what)))
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


def _of(row: Any, key: str) -> Any:
    return row.get(key) if isinstance(row, dict) else getattr(row, key, None)


def _cell(value: Any, style: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return _shown(", ".join(map(str, value))) or "–"
    return format(value, style) if style and not isinstance(value, str) else _shown(str(value))


FIGURE = re.compile(r"–|[-+]?(\d[\d,]*(\.\d+)?(e[-+]\d+)?( ?[kMG]|%)?|inf|nan)")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    value = _told(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _told(row: Any) -> Any:
    """A `Row` as its columns; asked for by name, as to import pyarrow for it takes long."""
    columns = getattr(row, "columns", None)
    return columns() if callable(columns) else row
