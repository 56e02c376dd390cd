"""The requests of a decision log, and labels that come later by their keys → a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from math import nan
from operator import and_

import numpy as np
import polars as pl

from cache import InputError, Store, one_of
from stages.ingest.arrays import Array, NamedArrays, unreadable
from stages.ingest.decision_log import DRAWN, KEY, PLACE, LoggedRequests, Note, column, read_log
from stages.ingest.frame_table import FrameTable
from stages.ingest.many import One, import_each
from stages.ingest.request import ImportRequest, named
from stages.ingest.samples import open_frame
from stages.ingest.stage import ImportedModel

_LABEL, _ROW = "label", " row"  # no column's name begins so


def import_log(
    store: Store,
    request: ImportRequest,
    split: str | None,
    note: Note = lambda line: None,
    dry_run: bool = False,
    macs: Mapping[str, int] | None = None,
) -> list[ImportedModel]:
    """Import what the models of a cascade answered: `request.file` is its log, a file or a folder,
    and `request.labels` a csv or Parquet of columns key and label.

    Of all models the requests on which all of them ran by chance, else of the first model all. As
    `import_many` with what it takes; `note` is also told of damage and of what is left out.
    """
    if request.unlabelled:
        raise InputError("--log brings requests in with their labels: leave out --unlabelled")
    if request.labels is None:
        raise InputError("a log has no labels: give --labels FILE, with columns key and label")
    place = named(split)
    log = read_log(request.file, note)
    log, models = _fair(log, note)
    log, labels = _labelled(log, request, note)
    asked = [name for name in models if request.model in ("", name)]
    if not asked:
        raise InputError(f"{request.file}: {one_of('model', request.model, models)}")
    told = replace(request, kind="answers", split=place, labels=None, label_column=None)
    told = replace(told, keys=tuple(log.rows[KEY].to_list()))
    found = [
        One(replace(told, model=name), partial(_answers, log, models.index(name), labels))
        for name in asked
    ]
    return import_each(store, told, found, note, dry_run, macs)


# Where B gives more of the drawn requests no answer, what it did answer is no sample of them.
MOST_LACKING = 0.05


def _fair(log: LoggedRequests, note: Note) -> tuple[LoggedRequests, Sequence[str]]:
    """The requests that are no choice of the cascade's, and the models of which they tell."""
    rows, models = log.rows, log.models
    ran = [rows[column("prediction", k)].is_not_null() for k in range(len(models))]
    every = reduce(and_, ran)
    if every.all():
        return log, models
    kept, drawn = rows.filter(every & rows[DRAWN]), int(rows[DRAWN].sum())
    lacking = drawn - len(kept)
    if len(kept) and lacking <= MOST_LACKING * drawn:
        less = f", without {lacking:,} that lack an answer" if lacking else ""
        note(
            f"{log.path}: all models ran on {len(kept):,} of {len(rows):,} requests by chance: "
            f"these are the split{less}"
        )
        return replace(log, rows=kept), models
    own = [name for name, there in zip(models, ran, strict=True) if there.all()] or [*models[:1]]
    later = next(name for name in models if name not in own)
    were = f"{' and '.join(own)} {'was' if len(own) == 1 else 'were'}"
    why = f"{later} ran where {were} unsure, which is no fair sample"
    if len(kept):
        why = f"{lacking:,} of {drawn:,} requests that were drawn lack an answer, and by no chance"
    note(
        f"warning: {log.path}: only {', '.join(own)} is imported: {why}; let all run "
        "on some requests by chance, Cascade.load(…, both=0.05)"
    )
    return replace(log, rows=rows.filter(ran[0])), own


def _labelled(
    log: LoggedRequests, request: ImportRequest, note: Note
) -> tuple[LoggedRequests, Array]:
    """The requests that have a label, and the labels; InputError where none has."""
    with unreadable(str(request.labels)):
        table = _labels(str(request.labels), request.label_column)
        labels = table.array([1])
    values = labels.read().reshape(-1)
    given = pl.DataFrame({KEY: table.frame.to_series(0)}).with_row_index(_ROW)
    first = given.unique(KEY, keep="first", maintain_order=True)
    _check_one_each(table, given, first, values)
    rows = log.rows.join(first, on=KEY, how="left", maintain_order="left")
    kept = rows.filter(pl.col(_ROW).is_not_null())
    if kept.is_empty():
        raise InputError(
            f"{table.path} has no label of the {len(rows):,} requests of {log.path}: its keys are "
            f"such as {_some(first)}, those of the requests {_some(rows)}"
        )
    lacking, unknown = len(rows) - len(kept), len(first) - len(kept)
    if lacking or unknown:
        note(
            f"{table.path}: {lacking:,} requests have no label, and {unknown:,} labels are of no "
            "request of the split: left out"
        )
    places = kept[_ROW].to_numpy()
    chosen = Array(
        *(table.path, (len(kept),), labels.itemsize, lambda: values[places]),
        at=lambda row: table.at(int(places[row])),
    )
    return replace(log, rows=kept.drop(_ROW)), chosen


def _labels(path: str, label: str | None) -> FrameTable:
    """Columns key and label of the rows that have both."""
    table = open_frame(path)
    name = table.label_name(label, ())
    places = [table.find(KEY), None if name is None else table.find(name)]
    if None in places or label not in (None, name):
        raise InputError(
            f"{path} has no columns {KEY} and {label or _LABEL}: name them so, or give "
            "--label-column"
        )
    keys, labels = (table.frame.to_series(k) for k in places if k is not None)
    frame = pl.DataFrame({KEY: keys.cast(pl.String), _LABEL: labels}).with_row_index(_ROW)
    frame = frame.drop_nulls([KEY, _LABEL])
    rows = frame[_ROW].to_numpy()
    given = (path, (KEY, _LABEL), len(frame), 2, "")
    return FrameTable(*given, frame.drop(_ROW), lambda row: table.at(int(rows[row])))


def _check_one_each(
    table: FrameTable, given: pl.DataFrame, first: pl.DataFrame, values: np.ndarray
) -> None:
    """InputError for a key that has two labels."""
    before = given.join(first, on=KEY, how="left", maintain_order="left", suffix=" before")
    places = before[f"{_ROW} before"].to_numpy()
    other = (values != values[places]) & (places != np.arange(len(values)))
    if other.any():
        row = int(other.argmax())
        raise InputError(
            f"{table.path}: key {given[KEY][row][:80]!r} has label {values[places[row]]} "
            f"({table.at(int(places[row]))}) and {values[row]} ({table.at(row)}): keep one"
        )


def _some(rows: pl.DataFrame) -> str:
    return repr(rows[KEY][0][:40]) if len(rows) else "none"


def _answers(log: LoggedRequests, model: int, labels: Array) -> NamedArrays:
    """What one model answered, with the scores that are known of it, and the labels."""
    places = log.rows[PLACE]

    def array(name: str, values: pl.Series) -> Array:
        shape, at = (len(values),), lambda row: log.at(places[row])
        return Array(log.path, shape, 8, lambda: values.to_numpy(), at=at)

    named_scores = {name: log.rows[column(name, model)] for name in log.scores}
    known = {name: each for name, each in named_scores.items() if each.null_count() < len(each)}
    arrays = {name: array(name, each.fill_null(nan)) for name, each in known.items()}
    prediction = array("prediction", log.rows[column("prediction", model)])
    return NamedArrays(log.path, {"prediction": prediction, **arrays, _LABEL: labels})
