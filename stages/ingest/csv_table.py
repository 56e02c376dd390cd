"""A csv: whether its first line heads it, what holds its cells apart, where its rows are."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from cache import InputError, open_regular
from stages.ingest.arrays import fits
from stages.ingest.frame_table import FrameTable
from stages.ingest.tables import Table, check_width

if TYPE_CHECKING:
    import polars as pl

_LINE_BYTES = 1 << 24  # of the first line
_DECIMAL_COMMA = re.compile("(?<=[0-9]),(?=[0-9])")


def read_csv(path: str, words: Collection[str] = (), as_text: bool = False) -> Table:
    """A csv: all of it, once its first line was looked at; `as_text` as it stands, 007 as 007."""
    line = _first_line(path)
    cells = [cell.strip() for cell in next(csv.reader([line]), [])]
    if not cells:
        raise ValueError("its first line is empty")
    _check_separator(path, line, cells, words)
    check_width(path, len(cells))
    fits(path, os.path.getsize(path), "text")
    headed = _is_header(cells, words)
    frame = _frame(path, headed, len(cells), as_text)
    if len(cells) > 1 and not cells[-1] and frame.to_series(-1).null_count() == len(frame):
        cells, frame = cells[:-1], frame[:, :-1]  # each line ends in a comma
    numbers = ",".join(cells)[:40] if all(map(_is_number, cells)) else ""
    filled = _filled(frame)
    frame = frame.filter(filled)
    if not headed and len(cells) > 1 and _could_head(cells):
        _check_first_row(path, numbers, frame)
    places = filled.arg_true().to_numpy() + 1 + headed  # blank lines are rows too
    names = tuple(cells) if headed else ()
    given = (path, names, len(frame), len(cells), numbers)
    return FrameTable(*given, frame, lambda row: f"line {places[row]}")


def _filled(frame: pl.DataFrame) -> pl.Series:
    """bool [N]: the rows that hold anything, which blank lines do not."""
    import polars as pl
    import polars.selectors as cs

    filled = (cs.string().str.strip_chars() != "", (~cs.string()).is_not_null())
    return frame.select(pl.any_horizontal(*filled).fill_null(value=False)).to_series()


def _check_separator(path: str, line: str, cells: Sequence[str], words: Collection[str]) -> None:
    """InputError for a line whose cells are not held apart by commas."""
    for mark, name in ((";", "';'"), ("\t", "a tab"), ("|", "'|'"), (" ", "a blank")):
        parts = [part.strip() for part in line.split(mark) if part.strip()]
        numbers = all(_is_number(_DECIMAL_COMMA.sub(".", part)) for part in parts)
        single = len(cells) == 1 and cells[0] not in words and mark in cells[0] and mark != " "
        if len(parts) > 1 and (numbers or single):
            raise InputError(
                f"{path}: is its separator {name}? Save it with ',' between cells, and a point in "
                "numbers"
            )


def _first_line(path: str) -> str:
    with open_regular(path) as file:
        line = file.readline(_LINE_BYTES + 1)
    if len(line) > _LINE_BYTES:
        raise ValueError(f"its first line is longer than {_LINE_BYTES >> 20} MiB")
    return line.decode("utf-8-sig")


def _is_header(cells: Sequence[str], words: Collection[str]) -> bool:
    """Whether the first line is no data: words, or 0, 1, 2 …, as pandas heads nameless columns."""
    given = [cell for cell in cells if cell]
    return _counted(given) or not all(cell in words or _is_number(cell) for cell in given)


def _counted(cells: Sequence[str]) -> bool:
    """0, 1, 2 … in order; of three and more cells in any order, and from 1 on."""
    numbers = _whole(cells)
    if not len(cells) == len(numbers) > 1:
        return False
    counts = [[*range(first, first + len(cells))] for first in (0, 1)]
    return numbers == counts[0] or (len(cells) > 2 and sorted(numbers) in counts)


def _whole(cells: Sequence[str]) -> list[int]:
    """The whole numbers among them, as 10 or 10.0."""
    matches = (re.fullmatch(r"([0-9]{1,9})(?:\.0+)?", cell) for cell in cells)
    return [int(match[1]) for match in matches if match]


def _could_head(cells: Sequence[str]) -> bool:
    """Whether they may be numbers of classes: whole, each once."""
    return len(set(_whole(cells))) == len(cells)


def _check_first_row(path: str, line: str, frame: pl.DataFrame) -> None:
    """InputError where the first row is whole numbers, and no other one is."""
    import polars as pl
    import polars.selectors as cs

    if frame.height < 3 or not all(kind.is_numeric() for kind in frame.dtypes):
        return
    fractions = cs.float() != cs.float().floor()
    rows = frame[1:].select(pl.any_horizontal(pl.lit(value=False), fractions).fill_null(value=True))
    if rows.to_series().all():
        raise InputError(
            f"{path}, line 1 ({line}): only this line is whole numbers: is it a heading? Head the "
            "columns 0, 1, 2 … or with words; where it is data, write such a heading above it"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _frame(path: str, headed: bool, width: int, as_text: bool) -> pl.DataFrame:
    import polars as pl

    told = {"infer_schema": False} if as_text else {"infer_schema_length": None}
    try:
        frame = pl.read_csv(path, has_header=headed, **told)
    except pl.exceptions.ComputeError:
        _check_lines(path, width)
        raise
    if frame.width != width:
        _check_lines(path, width)
    return frame


def _check_lines(path: str, width: int) -> None:
    """InputError for the first line that has more cells than the first."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        for cells in lines:
            if len(cells) > width:
                told = ", the last one empty: is there a comma too many?" if not cells[-1] else ""
                raise InputError(
                    f"{path}, line {lines.line_num}: it has {len(cells)} cells where the first "
                    f"line has {width}{told or ': mend the line'}"
                )
