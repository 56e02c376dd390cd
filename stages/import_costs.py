"""A CSV of costs measured elsewhere (trtexec, a wattmeter, a published table) → the costs table.

Every row is checked before the first is written.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any

import pyarrow as pa

from cache import InputError, Store
from cache.errors import one_of
from cache.partition import checked_name
from cache.schema import COSTS
from stages import costs

REQUIRED = ("model", "device", "batch_size")
MEASURED = ("latency_ms", "energy_j")
COMPONENTS = ("forward", "preprocess", "hash")
ELSEWHERE = "elsewhere"
COLUMNS = ("model", "runtime", *COSTS.names)

_DEFAULTS = {"component": COMPONENTS[0], "meter": ELSEWHERE}
_OWN_SOURCE = "profile"
# Noise takes a small difference, and the lower end of an interval, below zero.
_ANY_SIGN = {"energy_low_j", *(name for name in COSTS.names if name.startswith("energy_above"))}
_MAY_BE_ZERO = {"latency_sd_ms", "ticks", "macs", "parameters", "peak_memory_bytes"}
_ASCENDING = (
    ("energy_low_j", "energy_j", "energy_high_j"),
    ("energy_above_idle_low_j", "energy_above_idle_j", "energy_above_idle_high_j"),
    ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms"),
)
_LARGEST = {pa.int32(): 2**31 - 1, pa.int64(): 2**63 - 1}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)

Row = dict[str, Any]


def read_rows(path: str, source: str | None = None, runtime: str | None = None) -> list[Row]:
    """The rows of a CSV file: COSTS's columns with `model` and `runtime`.

    latency_ms is of one batch, energy_j of one image. `source` and `runtime` fill empty cells.
    Raises InputError, with the line, for the first row that cannot be such.
    """
    records = _records(path)
    line, header = next(records, (1, []))
    if not header:
        raise InputError(f"{path} is empty: give a CSV file with the columns {_list(REQUIRED)}")
    header = [name.strip() for name in header]
    defaults = _DEFAULTS | {"source": source or "", "runtime": runtime or ELSEWHERE}
    rows: dict[tuple[Any, ...], tuple[int, Row]] = {}
    try:
        _check_header(header)
        for line, cells in records:
            row = _row(header, cells, defaults)
            first = rows.setdefault(_key(row), (line, row))[0]
            if first != line:
                raise InputError(f"same {_list(_KEY)} as line {first}: keep one of them")
    except InputError as error:
        raise InputError(f"{path}, line {line}: {error}") from error
    if not rows:
        raise InputError(f"{path} has a header and no rows: nothing to import")
    return [row for _, row in rows.values()]


def run(store: Store, dataset: str, rows: Sequence[Row]) -> list[Row]:
    """Merge rows into the cache; per model and runtime what was merged."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["runtime"]), []).append(row)
    for (model, runtime), group in groups.items():
        costs.merge(store, dataset, runtime, model, group)
    return [
        {
            "model": model,
            "runtime": runtime,
            "rows": len(group),
            "rows_with_energy": sum(row["energy_j"] is not None for row in group),
            "devices": sorted({row["device"] for row in group}),
            "batch_sizes": sorted({row["batch_size"] for row in group}),
        }
        for (model, runtime), group in groups.items()
    ]


_KEY = ("model", "runtime", *costs.KEY)


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEY)


def _records(path: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each record that is not blank."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: not CSV ({error}): mend or re-export it") from error


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {path}: {reason}; check the path") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 text: save it as CSV UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}, line {line}: a zero byte: this is not a CSV file")
    return text


def _check_header(header: Sequence[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    if len(unknown) == 1:
        raise one_of("column", unknown[0], COLUMNS)
    if unknown:
        found = ", ".join(map(repr, unknown))
        raise InputError(f"unknown columns {found}: rename or drop them; known: {_list(COLUMNS)}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"column {_list(twice)} stands there twice: keep one")
    lacking = [name for name in REQUIRED if name not in header]
    if lacking:
        raise InputError(f"no column {_list(lacking)}: add it")
    if not any(name in header for name in MEASURED):
        raise InputError(f"no column {' or '.join(MEASURED)}: add at least one")


def _row(header: Sequence[str], cells: Sequence[str], defaults: dict[str, str]) -> Row:
    if len(cells) != len(header):
        raise InputError(f"{len(cells)} cells under {len(header)} columns: check commas and quotes")
    given = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    row = {name: _value(name, given.get(name) or defaults.get(name, "")) for name in COLUMNS}
    for name in REQUIRED:
        if row[name] is None:
            raise InputError(f"no {name}: fill in the cell")
    if all(row[name] is None for name in MEASURED):
        raise InputError(f"neither {' nor '.join(MEASURED)}: give one, or drop the row")
    if row["component"] not in COMPONENTS:
        raise one_of("component", row["component"], COMPONENTS)
    if row["source"] in (None, _OWN_SOURCE):
        found = f"source {_OWN_SOURCE} is what `cascade profile` writes" if row["source"] else None
        raise InputError(f"{found or 'no source'}: say who measured, in a column or by --source")
    _check_order(row)
    if row["energy_j"] is None and row["reason"] is None:
        row["reason"] = "none in the imported file"
    return row


def _check_order(row: Row) -> None:
    for names in _ASCENDING:
        known = [name for name in names if row[name] is not None]
        if names[1] not in known and known and names[1].endswith("_j"):
            raise InputError(f"{known[0]} without {names[1]}: give both, or neither")
        for low, high in pairwise(known):
            if row[low] > row[high]:
                raise InputError(f"{low} {row[low]:g} exceeds {high} {row[high]:g}: swap or mend")


def _value(name: str, text: str) -> Any:
    """A cell's value, None where it is empty."""
    if not text:
        return None
    if not text.isprintable():
        raise InputError(f"{name} {text[:40]!r} has unprintable characters: remove them")
    if name in ("model", "runtime"):
        return checked_name(name, text)
    if name == "measured":
        return _time(text)
    kind = COSTS.field(name).type
    return text if kind == pa.string() else _number(name, text, kind)


def _number(name: str, text: str, kind: pa.DataType) -> int | float:
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise InputError(f"{name} {text[:40]!r} is no finite number: mend it, or leave it empty")
    if name not in _ANY_SIGN and (value < 0 or (value == 0 and name not in _MAY_BE_ZERO)):
        hint = "" if value else "; an unknown one is an empty cell"
        raise InputError(f"{name} {text[:40]} is not positive: mend it{hint}")
    if kind == pa.float64():
        return value
    whole = int(text) if re.fullmatch(r"\+?\d{1,19}", text, re.ASCII) else value
    if whole != math.floor(whole) or whole > _LARGEST[kind]:
        raise InputError(f"{name} {text[:40]} is no whole number up to {_LARGEST[kind]}: mend it")
    return int(whole)


def _time(text: str) -> str:
    """UTC, ISO 8601, as `cache.provenance.now` writes it; a time without a zone is taken as UTC."""
    try:
        moment = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc).isoformat(timespec="seconds")
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"measured {text[:40]!r} is no ISO 8601 time: write 2025-01-31T12:00:00+00:00"
        ) from error


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)
