"""What is right is the user's: what each answer costs, in exact integers.

From a file, CSV or JSON: K × K numbers, row true, column answered, or one per class, which missing
that class costs; with names of the classes in any order, or without. Or `topK`, without a file.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cached_property
from math import lcm
from pathlib import Path
from typing import NoReturn

import numpy as np

from cache import InputError, digest, one_of

_TOP = re.compile(r"top([1-9]\d{0,5})")
_DIGITS = 30  # of a number in a file, so that a hostile exponent takes no time
_LARGEST = 2**31 - 1
Cells = Sequence[Sequence[object]]


@dataclass(frozen=True, eq=False)
class Loss:
    """`matrix` int64 [K, K], row true, column answered: what the answer costs, in units of 1/scale;
    or `top` k: 1 where the label is not among the k most probable classes, else 0. `other`: the
    most that an answer which is no class costs."""

    name: str
    scale: int = 1
    matrix: np.ndarray | None = None
    top: int | None = None
    other: int = 0

    @cached_property
    def most(self) -> int:
        """The largest loss, and so the largest difference of two, in units of 1/scale."""
        return max(1 if self.matrix is None else int(self.matrix.max()), self.other)

    @property
    def largest(self) -> float:
        return self.most / self.scale

    @cached_property
    def is_zero_one(self) -> bool:
        """Whether an answer costs nothing or always as much."""
        others = self.other in (0, self.most)
        return others and (self.matrix is None or set(np.unique(self.matrix)) <= {0, self.most})

    @property
    def about(self) -> Mapping[str, object]:
        """What tells it from others, JSON-ready."""
        numbers = None if self.matrix is None else self.matrix.tolist()
        return {"name": self.name, "scale": self.scale, "numbers": digest(numbers)}

    def credits(self, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
        """−loss int64 [..., N] of answers int [..., N] to labels int [N]; InputError for a class
        that the matrix has not, and for what is no matter of the answer alone."""
        if self.matrix is None:
            raise InputError(f"--loss {self.name} is known of single models' answers only")
        classes, most = len(self.matrix), max(labels.max(initial=0), predictions.max(initial=0))
        if most >= classes:
            raise InputError(f"{self.name} has {classes} classes, and the images have class {most}")
        return -self.matrix[labels, predictions]


def parse_loss(text: str, names: Sequence[str] | None = None) -> Loss:
    """Of `--loss`: topK or a file's path; `names` are the dataset's classes, where they are known.

    >>> parse_loss("top5").top
    5
    """
    if top := _TOP.fullmatch(text):
        return Loss(text, top=int(top[1]))
    try:
        if not Path(text).is_file():  # a device or a pipe may never end
            raise ValueError("it is no file")
        read = Path(text).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"--loss {text} cannot be read ({error}): give a file, or top5") from error
    found = _of_json(text, read) if text.lower().endswith(".json") else _of_csv(text, read)
    return found.loss(text, names)


@dataclass
class _Numbers:
    """Cells of a file: K × K or K × 1, and what its rows and columns are called, if anything."""

    cells: Cells
    rows: Sequence[str] | None = None
    columns: Sequence[str] | None = None
    _known: dict[object, Fraction] = field(default_factory=dict)

    def loss(self, name: str, classes: Sequence[str] | None) -> Loss:
        k, widths = len(self.cells), {len(row) for row in self.cells}
        if not k or widths not in ({k}, {1}):
            found = f"{k} rows of {' or '.join(map(str, sorted(widths))) or 'no'} numbers"
            raise InputError(
                f"{name} has {found}: give K × K, row true, column answered, or one per class"
            )
        if classes is not None and k != len(classes):
            raise InputError(f"{name} has {k} classes, the dataset {len(classes)}")
        values = [[self._value(name, cell) for cell in row] for row in self.cells]
        scale = lcm(*{value.denominator for row in values for value in row})
        whole = [[value * scale for value in row] for row in values]
        most = max(value for row in whole for value in row)
        if most == 0:
            raise InputError(f"{name}: every loss is 0, which tells no answers apart")
        if most > _LARGEST:
            raise InputError(
                f"{name}: losses up to {float(most / scale):g} with steps of {1 / scale:g} have "
                "too many digits to be summed exactly: round them"
            )
        numbers = np.array([[int(value) for value in row] for row in whole], np.int64)
        rows = _places(name, self.rows, k, classes)
        if numbers.shape[1] == 1 and k > 1:
            numbers, columns = np.where(np.eye(k, dtype=bool), 0, numbers), rows
        else:
            columns = rows if self.columns is None else _places(name, self.columns, k, classes)
            rows = columns if self.rows is None else rows
        matrix = np.empty((k, k), np.int64)
        matrix[np.ix_(rows, columns)] = numbers
        return Loss(name, scale, matrix)

    def _value(self, name: str, cell: object) -> Fraction:
        """Exactly as written; a file has few different numbers."""
        if not isinstance(cell, (str, Decimal)):  # true is 1 to a dict
            return _value(name, cell)
        if cell not in self._known:
            self._known[cell] = _value(name, cell)
        return self._known[cell]


def _value(name: str, cell: object) -> Fraction:
    number = _number(cell)
    if number is None or not number.is_finite():
        raise InputError(f"{name}: {str(cell)[:40]!r} is no finite number")
    _, digits, exponent = number.as_tuple()
    if len(digits) > _DIGITS or abs(int(exponent)) > _DIGITS:
        raise InputError(f"{name}: {str(cell)[:40]} has too many digits to be summed exactly")
    if number < 0:
        raise InputError(f"{name}: {cell} is negative, and a loss is what an answer costs")
    return Fraction(number)


def _number(cell: object) -> Decimal | None:
    """None for what is no number, a truth value included."""
    try:
        plain = not isinstance(cell, str) or (cell.isascii() and "_" not in cell)
        return Decimal(cell) if isinstance(cell, (str, Decimal)) and plain else None
    except InvalidOperation:
        return None


def _places(
    name: str, given: Sequence[str] | None, k: int, classes: Sequence[str] | None
) -> np.ndarray:
    """intp [K]: the class of each row or column, by its name or its index."""
    if given is None:
        return np.arange(k)
    known = {str(i): i for i in range(k)}
    known |= {} if classes is None else {each: i for i, each in enumerate(classes)}
    for each in given:
        if each not in known:
            raise InputError(f"{name}: {one_of('class', each, classes or list(known))}")
    places = np.array([known[each] for each in given], np.intp)
    if len(np.unique(places)) < k:
        twice = next(each for i, each in enumerate(given) if known[each] in places[:i])
        raise InputError(f"{name}: class {twice} is there twice, and another is not")
    return places


def _of_csv(name: str, text: str) -> _Numbers:
    """With or without a first row or column of names: the first way that it can be read."""
    try:
        lines = list(csv.reader(text.splitlines(), strict=True))
    except csv.Error as error:
        raise InputError(f"{name} is no CSV: {error}") from error
    cells = [[cell.strip() for cell in line] for line in lines if any(map(str.strip, line))]
    width = len(cells[0]) if cells else 0
    if not cells or any(len(line) != width for line in cells):
        raise InputError(f"{name}: its rows are not all as long: give K × K numbers, or K × 1")
    for header, beside in ((0, 0), (1, 1), (1, 0), (0, 1)):
        body = [line[beside:] for line in cells[header:]]
        top, first = cells[0][beside:], [line[0] for line in cells[header:]]
        fits = width - beside in (1, len(body)) and not any(map(_named, body))
        if header:
            fits = fits and (_named(top) if width - beside == 1 else _titles(top))
        if fits and (not beside or _titles(first)):
            columns = top if header and len(top) > 1 else None
            return _Numbers(body, first if beside else None, columns)
    return _Numbers(cells)


def _named(cells: Sequence[str]) -> bool:
    """Whether any is no number."""
    return any(_number(cell) is None for cell in cells)


def _titles(cells: Sequence[str]) -> bool:
    """Whether these name classes: by words, or by all their indices."""
    return _named(cells) or sorted(cells) == sorted(map(str, range(len(cells))))


def _of_json(name: str, text: str) -> _Numbers:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) < len(pairs):
            raise InputError(f"{name}: a class is there twice")
        return dict(pairs)

    def refused(word: str) -> NoReturn:
        raise InputError(f"{name}: {word} is no finite number")

    try:
        found = json.loads(
            text,
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=refused,
            object_pairs_hook=once,
        )
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise InputError(f"{name} is no JSON: {error}") from error
    if isinstance(found, dict):
        return _of_names(name, found)
    if isinstance(found, list):
        return _Numbers([row if isinstance(row, list) else [row] for row in found])
    raise InputError(f"{name}: give lists of numbers, or numbers by class")


def _of_names(name: str, found: dict[str, object]) -> _Numbers:
    """A class's own column may be left out: a right answer then costs nothing."""
    rows = list(found)
    if not any(isinstance(each, dict) for each in found.values()):
        return _Numbers([[each] for each in found.values()], rows)
    cells = []
    for row, costs in found.items():
        costs = {row: Decimal(0)} | costs if isinstance(costs, dict) else {}
        if costs.keys() != found.keys():
            odd = sorted(costs.keys() ^ found.keys())[0]
            raise InputError(f"{name}: the row of {row} and the others differ in the class {odd}")
        cells.append([costs[column] for column in rows])
    return _Numbers(cells, rows)
