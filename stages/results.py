"""Tidy result tables: results/STAGE in the cache, one row per operating point."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from functools import cache as cached
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

import pyarrow as pa

import cache
from cache import Manifest, Partition, Store, digest, now, versions
from stages.cascade import Limit
from stages.notices import kept_if_writable
from stages.scores import ScoreSet
from stages.statistics import Interval, from_ends, with_ends

# Each stage that writes results, and the command that runs it.
STAGES = {
    **{name: name for name in ("threshold", "search", "rules", "simulate", "live")},
    **{name: name for name in ("calibrate", "heterogeneity")},
    "reliability": "calibrate",
    **dict.fromkeys(("predictors", "gains"), "heterogeneity --predict"),
}


def save(
    store: Store, stage: str, scores: ScoreSet, request: dict[str, Any], rows: Sequence[Row]
) -> Manifest | None:
    """Write rows as results/STAGE/…, one partition per distinct request, replaced when asked again;
    None where the cache cannot be written. A request may hold dataclasses.

    λ stands in a float column, null where B always or never runs or the oracle decides; the column
    `mode` tells which.
    """
    if stage not in STAGES:
        raise KeyError(stage)
    last = {} if scores.nobody is None else {"nobody": scores.nobody}
    request = json.loads(json.dumps(request | scores.cut | last, default=asdict))
    told = [row.columns() for row in rows]
    run = digest([request, [str(manifest.partition) for manifest in scores.manifests]])[:12]
    partition = Partition.of(
        "results", stage=stage, dataset=scores.dataset, split=scores.split, run=run
    )
    identity = {
        "request": request,
        "inputs": {str(manifest.partition): manifest.content for manifest in scores.manifests},
        "rows": digest(told),
        "versions": versions(),
    }
    table = _typed(pa.Table.from_pylist([tidy(row) for row in told]), type(rows[0]).types())
    # What the folders' names say is no column of the file too: pandas would refuse both.
    table = table.drop_columns([name for name in table.column_names if name in partition.keys])
    about = {"made": now()}
    return kept_if_writable(
        store, lambda: cache.write_partition(store, partition, table, identity, about)
    )


class Row:
    """The base of a frozen dataclass whose fields are the columns of a table, in their order and
    type. An Interval `x` is three of them (`x`, `x_low`, `x_high`), a Limit its λ and the ends of
    its interval, a Row its own columns in line, none where it is None."""

    def columns(self) -> dict[str, Any]:
        """Flat, JSON-ready."""
        found: dict[str, Any] = {}
        for name, kind in self._kinds().items():
            value = getattr(self, name)
            if kind is Interval:
                found |= with_ends(name, value)
            elif kind is Limit:
                found |= value.columns(name)
            elif issubclass(kind, Row):
                found |= {} if value is None else value.columns()
            else:
                found[name] = value
        return found

    @classmethod
    def of(cls, flat: Mapping[str, Any]) -> Self:
        """What `columns` told; a Row inside it is None where it is not there, or not whole."""
        given: dict[str, Any] = {}
        for name, kind in cls._kinds().items():
            if issubclass(kind, Row):
                there = kind.types().keys() & flat.keys()
                given[name] = kind.of(flat) if there and kind._needed() <= there else None
            elif kind is Limit:
                given[name] = Limit.of(*(flat.get(f"{name}{end}") for end in ("", "_low", "_high")))
            elif flat.get(name) is not None:
                given[name] = from_ends(name, flat) if kind is Interval else flat[name]
        return cls(**given)

    @classmethod
    def types(cls) -> dict[str, pa.DataType]:
        """Arrow's type of each column of the table."""
        found: dict[str, pa.DataType] = {}
        for name, kind in cls._kinds().items():
            if issubclass(kind, Row):
                found |= kind.types()
            elif kind in (Interval, Limit):
                found |= dict.fromkeys((name, f"{name}_low", f"{name}_high"), pa.float64())
            elif kind in _ARROW:
                found[name] = _ARROW[kind]
        return found

    @classmethod
    def _needed(cls) -> set[str]:
        return {each.name for each in fields(cls) if each.default is MISSING}  # type: ignore[arg-type]

    @classmethod
    @cached
    def _kinds(cls) -> dict[str, type[Any]]:
        """Each field's type, without the None that it may be."""
        hints = get_type_hints(cls)
        return {name: _without_none(hint) for name, hint in hints.items()}


_ARROW = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def _without_none(hint: Any) -> type[Any]:
    """A union's first; what is in a container counts as the container."""
    kind = get_args(hint)[0] if isinstance(hint, UnionType) else hint
    return get_origin(kind) or kind


def columns_of(row: Any) -> dict[str, Any]:
    """Of a dataclass its fields, in their order; a dict as it is."""
    if isinstance(row, Row):
        return row.columns()
    return row if isinstance(row, dict) else asdict(row)


def tidy(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose λ is a number or null, with the `mode` that says which kind of λ it was."""
    if "threshold" not in row:
        return row
    threshold = row["threshold"]
    if isinstance(threshold, str):
        return row | {"threshold": None, "mode": threshold}
    return row | {"mode": "oracle" if threshold is None else "threshold"}


def _typed(table: pa.Table, kinds: dict[str, pa.DataType]) -> pa.Table:
    """Also where a column is null in every row: files of one stage must agree, or no reader can
    open them together."""
    typed = [field.with_type(kinds.get(field.name, field.type)) for field in table.schema]
    return table.cast(pa.schema(typed))
