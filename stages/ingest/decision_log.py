"""A decision log, in files that may be cut, repeated and in any order → its requests.

What pyarrow's reader takes for a line of the log is one. Where it raises, the first line that it
does not take is looked for, and that file is read up to there.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from cache import InputError
from stages.ingest.log_files import DamagedError, log_files, pieces
from stages.scores import LABEL_FREE

Note = Callable[[str], None]
KEY, DRAWN, PLACE = "key", "drawn", "place"
_VERSION = 1
_FLAGS = {"hit": "hits of a memory"}
_READ: Mapping[str, pa.DataType] = {
    "v": pa.int64(),
    "time": pa.timestamp("us", tz="UTC"),
    KEY: pa.string(),
    "policy": pa.string(),
    "models": pa.list_(pa.string()),
    "predictions": pa.list_(pa.int32()),
    **dict.fromkeys((*_FLAGS, DRAWN), pa.bool_()),
}
_TAKEN = {*_READ, "prediction", "answered", "escalated", "failed", "latency_ms", "batch"}
_LIST = re.compile(rb'"([^"\\]{1,64})"\s*:\s*\[\s*(?:[-0-9nNI])')  # of numbers, or null
_NULL = re.compile(rb"}\s*n")  # behind an object, or in a text
_BLOCK = 1 << 20  # bytes that a thread parses
_HEAD = 1 << 16  # of a line, in which scores are


def column(name: str, model: int) -> str:
    """What a model's predictions or scores are called among those of all."""
    return f"{name}.{model}"


@dataclass(frozen=True)
class LoggedRequests:
    """Each request once, by time and then key: key, `column`s of the predictions and scores of each
    model, null where it did not run or nobody knows, drawn, and place, of which `at` tells file and
    line."""

    path: str
    models: tuple[str, ...]
    scores: tuple[str, ...]
    rows: pl.DataFrame
    at: Callable[[int], str]


@dataclass(frozen=True)
class _Part:
    """N rows of a file, and the numbers of their lines, int64 [N]; `scores` are those of all."""

    path: str
    lines: np.ndarray
    cascades: Sequence[tuple[str, ...]]
    policies: Sequence[str | None]
    scores: Sequence[str]
    rows: pl.DataFrame


def read_log(path: str, note: Note) -> LoggedRequests:
    """The requests of a file or folder that a model answered, each as it was asked first.

    `note` is told of damage, after which a file is not read, and of what is left out. InputError
    where nothing can be read, no request has a key, or the files are of several cascades.
    """
    files = log_files(path)
    parts = [part for file in files for part in _parts(file, note)]
    if not parts:
        raise InputError(f"{path} holds no line of a decision log that can be read: check the path")
    models = _one_cascade(path, parts)
    _tell_policies(path, parts, note)
    scores = _common(path, parts, note)
    rows = pl.concat(part.rows.select(_columns(len(models), scores)) for part in parts)
    rows = _distinct(path, rows.with_row_index(PLACE), len(files), note)
    starts = np.cumsum([0, *(len(part.rows) for part in parts)]).tolist()

    def at(place: int) -> str:
        k = bisect_right(starts, place) - 1
        return f"{parts[k].path}, line {parts[k].lines[place - starts[k]]}"

    return LoggedRequests(path, models, scores, rows, at)


def _one_cascade(path: str, parts: Sequence[_Part]) -> tuple[str, ...]:
    found = {models: part.path for part in parts for models in part.cascades}
    if len(found) > 1:
        told = [f"{', '.join(models)} ({file})" for models, file in sorted(found.items())]
        raise InputError(
            f"{path} is the log of several cascades, {' and '.join(told[:2])}: give the files of "
            "each a folder of their own"
        )
    return next(iter(found))


def _tell_policies(path: str, parts: Sequence[_Part], note: Note) -> None:
    found = {each for part in parts for each in part.policies if each}
    if len(found) > 1:
        told = ", ".join(each[:12] for each in sorted(found))
        note(
            f"warning: {path} is of {len(found)} policies ({told}): if the weights of a model "
            "differ, import the files of each by themselves"
        )


def _common(path: str, parts: Sequence[_Part], note: Note) -> tuple[str, ...]:
    """The scores that every line has."""
    there = [dict.fromkeys(part.scores) for part in parts]
    common = reduce(lambda a, b: {name: None for name in a if name in b}, there)
    left = sorted({name for each in there for name in each} - common.keys())
    if left:
        note(f"warning: {path}: not every line has {', '.join(left)}: left out")
    return tuple(common)


def _columns(models: int, scores: Sequence[str]) -> list[str]:
    per_model = [column(name, k) for name in ("prediction", *scores) for k in range(models)]
    return ["time", KEY, *per_model, *_FLAGS, DRAWN]


def _distinct(path: str, rows: pl.DataFrame, files: int, note: Note) -> pl.DataFrame:
    """Those with a key that a model answered, as asked first; the order of reading is no part of
    it. InputError where nothing is left."""
    lines, each = len(rows), _once(rows)
    counts = {"lines that are there before": lines - len(each)}
    kept = each.filter(pl.col(KEY).is_not_null())
    if kept.is_empty():
        raise InputError(
            f"{path}: no line has a key, by which labels are told: give the cascade the keys of "
            "its requests, cascade.answer(…, keys=names)"
        )
    counts["without a key"] = len(each) - len(kept)
    for flag, words in _FLAGS.items():
        counts[words] = int(kept[flag].sum())
        kept = kept.filter(~pl.col(flag))
    first = kept.filter(pl.col(KEY).is_first_distinct())
    counts["of keys asked before"] = len(kept) - len(first)
    told = ", ".join(f"{count:,} {words}" for words, count in counts.items() if count)
    left = f"; left out: {told}" if told else ""
    of = f" of {files:,} files" if files > 1 else ""
    note(f"{path}: {len(first):,} requests in {lines:,} lines{of}{left}")
    if first.is_empty():
        raise InputError(f"{path}: no request in it was answered by a model: {told}")
    return first


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """By time, key and then the rest; of lines that say the same, one."""
    if rows[KEY].n_unique() == len(rows):  # no need to look at the rest
        return rows.sort("time", KEY)
    said = [name for name in rows.columns if name != PLACE]
    return rows.sort(*said, PLACE).unique(said, keep="first", maintain_order=True)


def _parts(path: str, note: Note) -> Iterator[_Part]:
    """Of one file, up to its damage, which is told."""
    first, read = 1, 0
    try:
        for piece in pieces(path):
            for lines, table in _tables(piece, _scores(piece)):
                read += len(table)
                if len(table):
                    yield _part(path, first + lines, table)
            first += piece.count(b"\n")
    except DamagedError as error:
        note(
            f"warning: {path} is damaged in line {first + error.line} ({error}): the {read:,} "
            "before it are read"
        )


def _part(path: str, lines: np.ndarray, table: pa.Table) -> _Part:
    cascades = pc.unique(pc.binary_join(table["models"], "\0")).to_pylist()
    models = [tuple(each.split("\0")) for each in cascades]
    if len(models) == 1:  # whose names may hold anything
        models = [tuple(table["models"][0].as_py())]
    given = [name for name in table.column_names if name not in _READ]
    scores = [name for name in given if not table[name].null_count]
    columns = {name: pc.fill_null(table[name], False) for name in (*_FLAGS, DRAWN)}
    columns |= {"time": table["time"].cast(pa.int64()), KEY: table[KEY]}
    rows = pl.DataFrame(pl.from_arrow(pa.table(columns)))
    if len(models) == 1:
        names = {"prediction": "predictions", **dict(zip(scores, scores, strict=True))}
        rows = rows.with_columns(
            each for name, lists in names.items() for each in _by_model(name, table[lists])
        )
    policies = pc.unique(table["policy"]).to_pylist()
    return _Part(path, lines, models, policies, scores, rows)


def _by_model(name: str, lists: pa.ChunkedArray) -> Iterator[pl.Series]:
    """[N] for each model, of N lists of one length; what is no number is null."""
    flat = pl.Series(pl.from_arrow(pc.list_flatten(lists)))
    flat = flat.fill_nan(None) if flat.dtype.is_float() else flat
    models = len(flat) // len(lists)
    for k in range(models):
        yield flat.gather_every(models, k).alias(column(name, k))


def _tables(
    piece: bytes, scores: Sequence[str], first: int = 0
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """(which lines of a piece, what they say), up to one that is none of a log: DamagedError; their
    numbers begin with `first`."""
    begins = _begins(piece)
    try:
        filled, table = _parsed(piece, begins, scores)
        _check(table, scores)
    except DamagedError as error:
        if len(begins) == 1:
            raise DamagedError(str(error), first) from error
    else:
        yield first + filled, table
        return
    half = len(begins) // 2
    yield from _tables(piece[: begins[half]], scores, first)
    yield from _tables(piece[begins[half] :], scores, first + half)


def _begins(piece: bytes) -> np.ndarray:
    """Where each line begins."""
    codes = np.frombuffer(piece, np.uint8)
    return np.concatenate([[0], np.flatnonzero(codes[:-1] == ord("\n")) + 1])


def _scores(piece: bytes) -> list[str]:
    """Of which the first line has a list as long as that of the models, or that are known so."""
    line = piece[: 1 + piece.find(b"\n", len(piece) - len(piece.lstrip()))] or piece
    names = {name.decode(errors="replace") for name in _LIST.findall(line[:_HEAD])} - _TAKEN
    known = names & {*LABEL_FREE}
    try:
        _, table = _parsed(line, _begins(line), sorted(names))
    except DamagedError:
        return sorted(known)
    models = _lengths(table, "models")
    return sorted(
        name for name in names if name in known or (_lengths(table, name) == models).all()
    )


def _parsed(piece: bytes, begins: np.ndarray, scores: Sequence[str]) -> tuple[np.ndarray, pa.Table]:
    """(which lines are not blank, these as a table of `_READ` and scores); DamagedError where any
    of them is no such."""
    filled = _filled(piece, begins)
    if not len(filled):
        return filled, _schema(scores).empty_table()
    try:
        if not piece.isascii():
            piece.decode()
        table = _read(piece, len(begins) == 1, scores)
    except UnicodeDecodeError as error:
        raise DamagedError("no UTF-8") from error
    except pa.ArrowException as error:
        said = str(error).removeprefix("JSON parse error: ").partition(" in row ")[0]
        raise DamagedError("".join(filter(str.isprintable, said))[:100].rstrip(".")) from error
    if len(table) != len(filled):
        raise DamagedError("two objects on a line")
    return filled, table


def _filled(piece: bytes, begins: np.ndarray) -> np.ndarray:
    """Which lines are not blank; DamagedError where one is no object, or may have a null behind it:
    of a row that is null pyarrow's reader ends the process."""
    odd = np.frombuffer(piece, np.uint8)[begins] != ord("{")
    found = [match.start() for match in _NULL.finditer(piece)]
    odd[np.searchsorted(begins, found, "right") - 1] = True
    filled, ends = np.ones(len(begins), bool), [*begins[1:], len(piece)] if odd.any() else []
    for k in np.flatnonzero(odd):
        line = piece[begins[k] : ends[k]]
        filled[k] = not line.isspace()
        if filled[k] and not _is_object(line):
            raise DamagedError("no object of JSON")
    return np.flatnonzero(filled)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _read(piece: bytes, is_one: bool, scores: Sequence[str]) -> pa.Table:
    whole = is_one or len(piece) < _BLOCK  # no line may be longer than a block
    return pj.read_json(
        pa.BufferReader(piece),
        pj.ReadOptions(block_size=len(piece) + 1 if whole else _BLOCK),
        pj.ParseOptions(_schema(scores), unexpected_field_behavior="ignore"),
    )


def _schema(scores: Sequence[str]) -> pa.Schema:
    return pa.schema([*_READ.items(), *((name, pa.list_(pa.float64())) for name in scores)])


def _check(table: pa.Table, scores: Sequence[str]) -> None:
    """DamagedError where a line lacks what makes it one."""
    models = _lengths(table, "models")
    good = pc.fill_null(pc.equal(table["v"], _VERSION), False).to_numpy()
    good &= table["time"].is_valid().to_numpy() & (models > 0)
    good &= _lengths(table, "predictions") == models
    for name in scores:
        found = _lengths(table, name)
        good &= (found == models) | (found < 0)
    if not good.all() or pc.list_flatten(table["models"]).null_count:
        raise DamagedError(f"no line of a decision log of version {_VERSION}")


def _lengths(table: pa.Table, name: str) -> np.ndarray:
    """int32 [N] of a column's lists, −1 where there is none."""
    return np.asarray(pc.fill_null(pc.list_value_length(table[name]), -1))
