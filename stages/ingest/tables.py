"""Tables in files (csv, parquet): which columns are classes, which holds labels, in what order."""

from __future__ import annotations

import csv
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cache import InputError, one_of, open_regular
from stages.ingest.arrays import Array, fits, unreadable
from stages.ingest.class_columns import LABELS, ORDER, check_names, class_order

if TYPE_CHECKING:
    import polars as pl
    import pyarrow.parquet as pq

MOST_COLUMNS = 50_000
_LINE_BYTES = 1 << 24  # of the first line
_DECIMAL_COMMA = re.compile("(?<=[0-9]),(?=[0-9])")
_NUMBERS, _LISTS = "numbers", "lists"
_LIST_TYPES = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


@dataclass(frozen=True)
class Table(ABC):
    """Columns by position; `names` are without blanks around them, none of a csv without header."""

    path: str
    names: tuple[str, ...]
    rows: int
    width: int
    first_line: str  # of a csv, where it is numbers

    @abstractmethod
    def kind(self, k: int) -> str:
        """What column k holds: `numbers`, `lists` of numbers, or else in words."""

    @abstractmethod
    def columns(self, ks: Sequence[int]) -> list[np.ndarray]:
        """[N] each, or [N, K] of lists; InputError for a cell that is empty or no number."""

    def list_length(self, k: int) -> int:
        """Of the lists in column k, of which a csv has none."""
        return 0

    @property
    def own(self) -> Sequence[int]:
        """The columns of one model, where others' stand in the same file."""
        return range(self.width)

    @property
    def whole_file(self) -> Table:
        return self

    def is_numbers(self, k: int) -> bool:
        return self.kind(k) == _NUMBERS

    def at(self, row: int) -> str:
        """The place of a row in the file."""
        return f"row {row}"

    def heading(self, k: int) -> str:
        return f"column {self.names[k]!r}" if self.names else f"column {k}"

    def find(self, name: str) -> int | None:
        """The column of that name, whatever its case."""
        found = [k for k, each in enumerate(self.names) if each.casefold() == name.casefold()]
        if len(found) > 1:
            raise InputError(f"{self.path}: {self.heading(found[1])} is there twice: keep one")
        return found[0] if found else None

    def is_long(self) -> bool:
        """Whether a row is of a model and an image."""
        return None not in (self.find("model"), self.find(ORDER))

    def models(self) -> list[str]:
        """What stands before the last point of columns, in their order."""
        headed = Counter(name for name in self.names if "." in name)
        for name, times in headed.items():
            if times > 1:
                raise InputError(f"{self.path}: column {name!r} is there twice: keep one")
        return list(dict.fromkeys(name.rpartition(".")[0] for name in headed))

    def of_model(self, model: str) -> Table:
        """The columns called MODEL.…, by what follows, and those that are nobody's."""
        places = {}
        for k, name in enumerate(self.names):
            owner, _, rest = name.rpartition(".")
            if owner in (model, ""):
                places[k] = rest
        return self._some(places)

    def without_macs(self) -> tuple[Table, int | None]:
        """What a column `macs` says of all rows, and the other columns; where it differs by row, or
        is no whole number, it stays."""
        k = self.find("macs")
        [values] = [np.zeros(0)] if k is None else self.columns([k])
        if values.dtype.kind not in "fiu" or len(set(values.tolist())) != 1 or values[0] % 1:
            return self, None
        return self._some({i: n for i, n in enumerate(self.names) if i != k}), int(values[0])

    def _some(self, places: Mapping[int, str]) -> Table:
        """These columns, by these names."""
        return _Some(
            *(self.path, tuple(places.values()), self.rows, len(places), self.first_line),
            *(self, tuple(places)),
        )

    def label_name(self, name: str | None, classes: Collection[str]) -> str | None:
        asked = [name] if name is not None else []
        names = [*asked, *(each for each in LABELS if each not in classes)]
        return next((each for each in names if self.find(each) is not None), None)

    def labels(self, name: str | None) -> Array:
        left = [k for k in range(self.width) if k != self.find(ORDER)]
        if name is not None:
            found = self.find(name)
            if found is None:
                raise self._no("--label-column", name)
            left = [found]
        if len(left) != 1:
            told = f" ({', '.join(self.names)[:100]})" if self.names else ""
            raise InputError(
                f"{self.path} has {len(left)} columns{told}: keep that of the labels only, or name "
                "it with --label-column"
            )
        return self.array(left)

    def logits(self, name: str | None, label: str | None, classes: Collection[str]) -> Array:
        beside = self.label_name(label, classes)
        apart = {self.find(each) for each in (ORDER, beside) if each is not None}
        left = [k for k in range(self.width) if k not in apart]
        if name is not None:
            left = self._called(name, left)
        kinds = {k: self.kind(k) for k in left}
        if _LISTS in kinds.values() and len(left) > 1:
            told = ", ".join(self.names[k] for k in left)[:100]
            raise InputError(
                f"{self.path} has lists beside other columns ({told}): name that of the logits "
                "with --logits-column"
            )
        for k, kind in kinds.items():
            if kind not in (_NUMBERS, _LISTS):
                raise InputError(
                    f"{self.path}: {self.heading(k)} holds {kind}, not numbers: leave it out, or "
                    "name the columns of the logits with --logits-column"
                )
        if self.names and _LISTS not in kinds.values():
            headed = [self.names[k] for k in left]
            if name is None:
                check_names(self.path, headed, classes)
            left = [left[place] for place in class_order(self.path, headed, classes)]
        return self.array(left)

    def _called(self, name: str, among: Sequence[int]) -> list[int]:
        """The column of lists called so, else those whose names begin so."""
        same = [k for k in among if k == self.find(name) and self.kind(k) == _LISTS]
        found = same or [k for k in among if self.names and self.names[k].startswith(name)]
        if not found:
            raise self._no("--logits-column", name)
        return found

    def _no(self, option: str, name: str) -> InputError:
        if not self.names:
            return InputError(f"{self.path} has no header: write one, or leave out {option}")
        return InputError(f"{self.path}: {option}: {one_of('column', name, self.names)}")

    @cached_property
    def _sorted(self) -> np.ndarray | None:
        """intp [N]: which row of the file is row i, where a column tells and they differ."""
        k = self.find(ORDER)
        if k is None:
            return None
        [ids] = self.columns([k])
        if np.array_equal(ids, np.arange(self.rows)):
            return None
        order = ids.argsort(kind="stable")
        if not np.array_equal(ids[order], np.arange(self.rows)):
            raise InputError(
                f"{self.path}: its sample_id are not 0, 1, 2 …, each once: number the rows so, or "
                "leave the column out"
            )
        return order

    def array(self, ks: list[int]) -> Array:
        """These columns side by side, or the one column of lists."""
        kind = self.kind(ks[0]) if len(ks) == 1 else _NUMBERS
        lists = kind == _LISTS

        def load() -> np.ndarray:
            values = self.columns(ks)
            array = np.column_stack(values) if kind == _NUMBERS else values[0]
            return array if self._sorted is None else array[self._sorted]

        def at(row: int) -> str:
            return self.at(row if self._sorted is None else int(self._sorted[row]))

        return Array(
            self.path,
            (self.rows, self.list_length(ks[0]) if lists else len(ks)),
            8,
            load,
            tuple(self.names[k] for k in ks) if self.names and not lists else (),
            at,
            self.first_line,
        )


@dataclass(frozen=True)
class _Some(Table):
    """The columns `ks` of another table."""

    whole: Table
    ks: tuple[int, ...]

    @property
    def own(self) -> Sequence[int]:
        return [i for i, k in enumerate(self.ks) if "." in self.whole.names[k]]

    @property
    def whole_file(self) -> Table:
        return self.whole

    @property
    def _sorted(self) -> np.ndarray | None:  # type: ignore[override]  # read once for all models
        return self.whole._sorted

    def kind(self, k: int) -> str:
        return self.whole.kind(self.ks[k])

    def columns(self, ks: Sequence[int]) -> list[np.ndarray]:
        return self.whole.columns([self.ks[k] for k in ks])

    def list_length(self, k: int) -> int:
        return self.whole.list_length(self.ks[k])

    def at(self, row: int) -> str:
        return self.whole.at(row)


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
            return _NUMBERS
        return f"words such as {str(column.drop_nulls().first())[:40]!r}"

    def columns(self, ks: Sequence[int]) -> list[np.ndarray]:
        return [self._column(k) for k in ks]

    def _column(self, k: int) -> np.ndarray:
        import polars as pl

        column = self.frame.to_series(k)
        is_number = self.kind(k) == _NUMBERS
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


def read_csv(path: str, words: Collection[str] = ()) -> Table:
    """A csv: all of it, once its first line was looked at."""
    line = _first_line(path)
    cells = [cell.strip() for cell in next(csv.reader([line]), [])]
    if not cells:
        raise ValueError("its first line is empty")
    _check_separator(path, line, cells, words)
    _check_width(path, len(cells))
    fits(path, os.path.getsize(path), "text")
    headed = _is_header(cells, words)
    frame = _frame(path, headed, len(cells))
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


def _check_width(path: str, width: int) -> None:
    if width > MOST_COLUMNS:
        raise InputError(
            f"{path} has {width:,} columns, which is more than {MOST_COLUMNS:,}: save N × K logits "
            "as npy, or as one column of lists in parquet"
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


def _frame(path: str, headed: bool, width: int) -> pl.DataFrame:
    import polars as pl

    try:
        frame = pl.read_csv(path, has_header=headed, infer_schema_length=None)
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


@dataclass(frozen=True)
class _Parquet(Table):
    file: pq.ParquetFile
    schema: pa.Schema

    def kind(self, k: int) -> str:
        kind = self.schema.field(k).type
        is_list = any(test(kind) for test in _LIST_TYPES)
        inside = kind.value_type if is_list else kind
        if pa.types.is_integer(inside) or pa.types.is_floating(inside):
            return _LISTS if is_list else _NUMBERS
        return f"values of the type {kind}"[:100]

    def list_length(self, k: int) -> int:
        """By the footer, which counts their values."""
        footer, name = self.file.metadata, self._as_it_stands(k)
        groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
        leaves = [footer.schema.column(leaf).path for leaf in range(footer.num_columns)]
        [leaf] = [i for i, path in enumerate(leaves) if path.startswith(f"{name}.")]
        values = sum(group.column(leaf).num_values for group in groups)
        return -(-values // self.rows) if self.rows else 0

    def columns(self, ks: Sequence[int]) -> list[np.ndarray]:
        names = [self._as_it_stands(k) for k in ks]
        table = self.file.read(columns=names)
        return [self._values(k, table.column(name)) for k, name in zip(ks, names, strict=True)]

    def _as_it_stands(self, k: int) -> str:
        """The name of a column with the blanks around it."""
        return str(self.schema.field(k).name)

    def _values(self, k: int, column: pa.ChunkedArray) -> np.ndarray:
        import pyarrow.compute as pc

        self._check_whole(k, column.is_null())
        if self.kind(k) != _LISTS:
            return column.to_numpy()
        whole = column.combine_chunks()
        lengths = pc.list_value_length(whole).to_numpy(zero_copy_only=False)
        if (lengths != lengths[:1]).any():
            row = int((lengths != lengths[0]).argmax())
            raise InputError(
                f"{self.path}, {self.at(row)}: its list in {self.heading(k)} has {lengths[row]} "
                f"values where that of {self.at(0)} has {lengths[0]}: save lists of one length"
            )
        length, flat = int(lengths[0]) if len(lengths) else 0, whole.flatten()
        self._check_whole(k, flat.is_null(), length)
        return flat.to_numpy(zero_copy_only=False).reshape(self.rows, length)

    def _check_whole(self, k: int, empty: pa.Array, per_row: int = 1) -> None:
        found = np.flatnonzero(np.asarray(empty))
        if len(found):
            raise InputError(
                f"{self.path}, {self.at(int(found[0]) // per_row)}: the cell of {self.heading(k)} "
                "is empty: mend it, or leave the row out of all files"
            )


def in_memory(table: Table) -> FrameTable:
    """The whole of a file's table, as a csv always is."""
    import polars as pl

    if isinstance(table, FrameTable):
        return table
    fits(table.path, os.path.getsize(table.path), "rows")
    given = (table.path, table.names, table.rows, table.width, "")
    with unreadable(table.path):
        return FrameTable(*given, pl.read_parquet(table.path), table.at)


def open_parquet(path: str) -> Table:
    """A Parquet file, of which the footer is read."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    footer, schema = file.metadata, file.schema_arrow
    _check_width(path, footer.num_columns)
    names = tuple(name.strip() for name in schema.names)
    return _Parquet(path, names, footer.num_rows, len(names), "", file, schema)
