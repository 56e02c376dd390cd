"""A CSV of costs measured elsewhere (trtexec, a wattmeter, a published table) → the costs table.

A header may give a figure in another unit (`units`); what a row implies of a device's power must
be possible (`implied_power`). Every row is checked before the first is written.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from cache import COSTS, CostRow, InputError, Store, checked_name, one_of, read_text
from stages.costs import implied_power, table
from stages.costs.units import of_stem, scaled, spellings

REQUIRED = ("model", "device", "batch_size")
MEASURED = ("latency_ms", "energy_j")
COMPONENTS = ("forward", "preprocess", "hash")
ELSEWHERE = "elsewhere"
COLUMNS = tuple(field.name for field in fields(CostRow))
POWER = "power_w"  # no column of the table: with the latency it tells the energy
SPELLINGS = spellings((*COLUMNS, POWER))
_LARGEST_FILE = 16 << 20  # bytes: some 100,000 rows
_LONGEST_CELL = 1000

_DEFAULTS = {"component": COMPONENTS[0], "meter": ELSEWHERE}
_OWN_SOURCE = "profile"
# Noise takes a small difference, and the lower end of an interval, below zero.
_ANY_SIGN = {"energy_low_j", *(name for name in COLUMNS if name.startswith("energy_above"))}
_MAY_BE_ZERO = {"latency_sd_ms", "ticks", "macs", "parameters", "peak_memory_bytes"}
_ASCENDING = (
    ("energy_low_j", "energy_j", "energy_high_j"),
    ("energy_above_idle_low_j", "energy_above_idle_j", "energy_above_idle_high_j"),
    ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms"),
)
_LARGEST = {pa.int32(): 2**31 - 1, pa.int64(): 2**63 - 1}
_SHA256 = re.compile("[0-9a-f]{64}")

Cells = dict[str, tuple[str, str]]  # by column: what the header calls it, and the cell


def read_rows(path: str, source: str | None = None, runtime: str | None = None) -> list[CostRow]:
    """The rows of a CSV file.

    latency_ms is of one batch, energy_j of one image, in these units whichever the header gives
    (`SPELLINGS`). `source` and `runtime` fill empty cells.
    Raises InputError, with the line, for the first row that cannot be such.
    """
    defaults = _DEFAULTS | {"source": source or "", "runtime": runtime or ELSEWHERE}
    return _read(path, _check_header, partial(_row, defaults=defaults), _KEY)


def read_costs(path: str) -> tuple[list[CostRow], dict[str, int]]:
    """The rows of a CSV file, none where its columns are model and macs alone, and multiply-adds by
    model, as far as they are told; the file's name is the source where it names none.

    InputError as of `read_rows`, and for a model with two counts of multiply-adds.
    """
    _, header = next(_records(path), (1, []))
    if sorted(name.strip() for name in header) == ["macs", "model"]:
        only = _read(path, lambda header: None, _macs, ("model",))
        return [], {each.model: each.macs for each in only}
    rows, found = read_rows(path, Path(path).name), dict[str, int]()
    for row in rows:
        if row.macs is not None and found.setdefault(row.model, row.macs) != row.macs:
            raise InputError(f"{path}: macs of {row.model} are {found[row.model]} and {row.macs}")
    return rows, found


def _read(
    path: str,
    check: Callable[[Sequence[str]], None],
    parse: Callable[[Sequence[str], Sequence[str]], Any],
    key: Sequence[str],
) -> list[Any]:
    """What is parsed of the header, once checked, and each record's cells; each key once."""
    records = _records(path)
    line, header = next(records, (1, []))
    if not header:
        raise InputError(f"{path} is empty: give a CSV file with the columns {_list(REQUIRED)}")
    header = [name.strip() for name in header]
    rows: dict[object, tuple[int, Any]] = {}
    try:
        check(header)
        for line, cells in records:
            row = parse(header, cells)
            first = rows.setdefault(attrgetter(*key)(row), (line, row))[0]
            if first != line:
                raise InputError(f"same {_list(key)} as line {first}: keep one of them")
    except InputError as error:
        raise InputError(f"{path}, line {line}: {error}") from error
    if not rows:
        raise InputError(f"{path} has a header and no rows: nothing to import")
    return [row for _, row in rows.values()]


@dataclass(frozen=True)
class ImportedCosts:
    """What was merged of one model and runtime; `implied_w` as `implied_power.by_device`."""

    model: str
    runtime: str
    rows: int
    rows_with_energy: int
    devices: list[str]
    batch_sizes: list[int]
    implied_w: dict[str, dict[str, float]]


def import_costs(store: Store, dataset: str, rows: Sequence[CostRow]) -> list[ImportedCosts]:
    """Merge rows into the cache; per model and runtime what was merged."""
    table.merge(store, dataset, rows)
    groups: dict[tuple[str, str], list[CostRow]] = {}
    for row in rows:
        groups.setdefault((row.model, row.runtime), []).append(row)
    return [
        ImportedCosts(
            *place,
            len(group),
            sum(row.energy_j is not None for row in group),
            sorted({row.device for row in group}),
            sorted({row.batch_size for row in group}),
            implied_power.by_device(group),
        )
        for place, group in groups.items()
    ]


_KEY = ("model", "runtime", *table.KEY)


@dataclass(frozen=True)
class _Macs:
    model: str
    macs: int


def _macs(header: Sequence[str], cells: Sequence[str]) -> _Macs:
    given = _given(header, cells)
    found = {column: _value(column, given, {}) for column in ("model", "macs")}
    if None in found.values():
        raise InputError("no model or no macs: fill in the cell, or drop the row")
    return _Macs(**found)


def _records(path: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each record that is not blank."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True, skipinitialspace=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: not CSV ({error}): mend or re-export it") from error


def _text(path: str) -> str:
    text = read_text(path, _LARGEST_FILE)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}, line {line}: a zero byte: this is not a CSV file")
    return text


def _check_header(header: Sequence[str]) -> None:
    if len(header) > len(SPELLINGS):
        raise InputError(f"{len(header):,} columns, {len(SPELLINGS)} are known: is it that file?")
    if "" in header:
        raise InputError(f"column {header.index('') + 1} has no name: name it, or drop its comma")
    unknown = [name[:40] for name in header if name not in SPELLINGS]
    for name in unknown:
        if units := of_stem(name, SPELLINGS):
            raise InputError(
                f"unknown column {name!r}: call it {' or '.join(units)}, as its unit is"
            )
    if len(unknown) == 1:
        raise one_of("column", unknown[0], (*COLUMNS, POWER))
    if unknown:
        found = ", ".join(map(repr, unknown[:8])) + (", …" if len(unknown) > 8 else "")
        raise InputError(f"unknown columns {found}: rename or drop them; known: {_list(COLUMNS)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"column {_list(twice)} stands there twice: keep one")
    _check_figures(header)
    lacking = [name for name in REQUIRED if name not in header]
    if lacking:
        raise InputError(f"no column {_list(lacking)}: add it")


def _check_figures(header: Sequence[str]) -> None:
    """Of each figure one column, in one unit, and one at least of what costs are."""
    by_figure: dict[str, list[str]] = {}
    for name in header:
        column = SPELLINGS[name][0]
        by_figure.setdefault("energy_j" if column == POWER else column, []).append(name)
    for names in by_figure.values():
        if len(names) > 1:
            raise InputError(f"columns {' and '.join(names)} are one figure: keep one of them")
    if not any(name in by_figure for name in MEASURED):
        raise InputError(f"no column {' or '.join(MEASURED)}: add at least one")
    [energy] = by_figure.get("energy_j", [MEASURED[1]])
    if SPELLINGS[energy][0] == POWER and "latency_ms" not in by_figure:
        raise InputError(f"{energy} without a latency is no energy: add a column latency_ms")


def _row(header: Sequence[str], cells: Sequence[str], defaults: dict[str, str]) -> CostRow:
    given = _given(header, cells)
    values = {column: _value(column, given, defaults) for column in (*COLUMNS, POWER)}
    for column in REQUIRED:
        if values[column] is None:
            raise InputError(f"no {column}: fill in the cell")
    names = {column: name for column, (name, _) in given.items()}
    latency, energy = (names.get(column, column) for column in MEASURED)
    power = values.pop(POWER)
    if power is not None:
        energy = names[POWER]
        if values["latency_ms"] is None:
            raise InputError(f"{energy} without a latency is no energy: give it, or neither")
        values["energy_j"] = power * values["latency_ms"] / (1e3 * values["batch_size"])
    if values["energy_j"] is None:
        values["reason"] = values["reason"] or "none in the imported file"
    row = CostRow(**values)
    if row.latency_ms is None and row.energy_j is None:
        raise InputError(f"neither {latency} nor {energy}: give one, or drop the row")
    if row.component not in COMPONENTS:
        raise one_of("component", row.component, COMPONENTS)
    if row.source in (None, _OWN_SOURCE):
        found = f"source {_OWN_SOURCE} is what `cascade profile` writes" if row.source else None
        raise InputError(f"{found or 'no source'}: say who measured, in a column or by --source")
    _check_order(row)
    implied_power.check(row, energy, latency)
    return row


def _given(header: Sequence[str], cells: Sequence[str]) -> Cells:
    _check_count(header, cells)
    pairs = zip(header, cells, strict=True)
    return {SPELLINGS[name][0]: (name, cell.strip()) for name, cell in pairs}


def _check_count(header: Sequence[str], cells: Sequence[str]) -> None:
    if len(cells) == len(header):
        return
    what = f"{len(cells):,} cells under {len(header)} columns"
    if len(cells) < len(header):
        lacking = header[len(cells)]
        raise InputError(f"{what}, none for {lacking}: fill in, or check commas and quotes")
    if not any(cell.strip() for cell in cells[len(header) :]):
        raise InputError(f"{what}: drop the comma after {header[-1]}")
    raise InputError(f"{what}: check commas and quotes")


def _check_order(row: CostRow) -> None:
    for names in _ASCENDING:
        known = {name: getattr(row, name) for name in names if getattr(row, name) is not None}
        if names[1] not in known and known and names[1].endswith("_j"):
            raise InputError(f"{next(iter(known))} without {names[1]}: give both, or neither")
        for (low, least), (high, most) in pairwise(known.items()):
            if least > most:
                raise InputError(f"{low} {least:g} exceeds {high} {most:g}: swap or mend")


def _value(column: str, given: Cells, defaults: Mapping[str, str]) -> Any:
    """A cell's value in the column's own unit, None where it is empty."""
    name, text = given.get(column, (column, ""))
    text = text or defaults.get(column, "")
    if not text:
        return None
    if len(text) > _LONGEST_CELL:
        raise InputError(f"{name} has {len(text):,} characters, at most {_LONGEST_CELL:,} can be")
    if not text.isprintable():
        raise InputError(f"{name} {text[:40]!r} has unprintable characters: remove them")
    if column in _READ:
        return _READ[column](text)
    return text if _KINDS[column] == pa.string() else _number(column, name, text)


def _number(column: str, name: str, text: str) -> int | float:
    kind, value = _KINDS[column], scaled(text, SPELLINGS[name][1])
    if value is None or not math.isfinite(value):
        raise InputError(f"{name} {text[:40]!r} is no finite number: mend it, or leave it empty")
    if column not in _ANY_SIGN and (value < 0 or (value == 0 and column not in _MAY_BE_ZERO)):
        hint = "" if value else "; an unknown one is an empty cell"
        raise InputError(f"{name} {text[:40]} is not positive: mend it{hint}")
    if kind == pa.float64():
        return value
    whole = int(text) if re.fullmatch(r"\+?\d{1,19}", text, re.ASCII) else value
    if whole != math.floor(whole) or whole > _LARGEST[kind]:
        raise InputError(f"{name} {text[:40]} is no whole number up to {_LARGEST[kind]}: mend it")
    return int(whole)


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text.lower()):
        raise InputError(
            f"weights_sha256 {text[:40]!r} is no SHA-256: give its 64 hex digits, or leave it empty"
        )
    return text.lower()


def _time(text: str) -> str:
    """UTC, ISO 8601, as `cache.provenance.now` writes it; a time without a zone is taken as UTC."""
    try:
        moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"measured {text[:40]!r} is no ISO 8601 time: write 2025-01-31T12:00:00+00:00"
        ) from error


_KINDS = {field.name: field.type for field in COSTS} | {POWER: pa.float64()}
_READ: dict[str, Callable[[str], str]] = {
    "model": partial(checked_name, "model"),
    "runtime": partial(checked_name, "runtime"),
    "measured": _time,
    "weights_sha256": _sha256,
}


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
