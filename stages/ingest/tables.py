"""A table of a file: which columns are classes, which holds labels, in what order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cache import InputError, one_of
from stages.ingest.arrays import Array
from stages.ingest.class_columns import LABELS, ORDER, check_names, class_order

if TYPE_CHECKING:
    pass

MOST_COLUMNS = 50_000
NUMBERS, LISTS = "numbers", "lists"


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
        return self.kind(k) == NUMBERS

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
        if LISTS in kinds.values() and len(left) > 1:
            told = ", ".join(self.names[k] for k in left)[:100]
            raise InputError(
                f"{self.path} has lists beside other columns ({told}): name that of the logits "
                "with --logits-column"
            )
        for k, kind in kinds.items():
            if kind not in (NUMBERS, LISTS):
                raise InputError(
                    f"{self.path}: {self.heading(k)} holds {kind}, not numbers: leave it out, or "
                    "name the columns of the logits with --logits-column"
                )
        if self.names and LISTS not in kinds.values():
            headed = [self.names[k] for k in left]
            if name is None:
                check_names(self.path, headed, classes)
            left = [left[place] for place in class_order(self.path, headed, classes)]
        return self.array(left)

    def _called(self, name: str, among: Sequence[int]) -> list[int]:
        """The column of lists called so, else those whose names begin so."""
        same = [k for k in among if k == self.find(name) and self.kind(k) == LISTS]
        found = same or [k for k in among if self.names and self.names[k].startswith(name)]
        if not found:
            raise self._no("--logits-column", name)
        return found

    def _no(self, option: str, name: str) -> InputError:
        if not self.names:
            return InputError(f"{self.path} has no header: write one, or leave out {option}")
        return InputError(f"{self.path}: {option}: {one_of('column', name, self.names)}")

    @cached_property
    def _read_once(self) -> dict[int, np.ndarray]:
        return {}

    def shared(self, k: int) -> np.ndarray:
        """A column that is no model's own, as the labels: read once for all of them."""
        if k not in self._read_once:
            [self._read_once[k]] = self.columns([k])
        return self._read_once[k]

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
        kind = self.kind(ks[0]) if len(ks) == 1 else NUMBERS
        lists = kind == LISTS

        def load() -> np.ndarray:
            values = self.columns(ks)
            array = np.column_stack(values) if kind == NUMBERS else values[0]
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
        wanted = [self.ks[k] for k in ks]
        if len(ks) > 1 or ks[0] in self.own:
            return self.whole.columns(wanted)
        return [self.whole.shared(*wanted)]

    def list_length(self, k: int) -> int:
        return self.whole.list_length(self.ks[k])

    def at(self, row: int) -> str:
        return self.whole.at(row)


def check_width(path: str, width: int) -> None:
    if width > MOST_COLUMNS:
        raise InputError(
            f"{path} has {width:,} columns, which is more than {MOST_COLUMNS:,}: save N × K logits "
            "as npy, or as one column of lists in parquet"
        )
