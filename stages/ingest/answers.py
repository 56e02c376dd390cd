"""Answers from elsewhere, each with confidences under their own names and perhaps what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

import cache
from cache import InputError, Manifest, Store
from stages.ingest.arrays import Array, NamedArrays
from stages.ingest.class_columns import LABELS, ORDER, check_names
from stages.ingest.request import ImportRequest
from stages.ingest.samples import Contents, open_contents
from stages.ingest.tables import Table
from stages.plugins import misnamed
from stages.scores import LABEL_FREE, SCORES, functions

PREDICTION, CORRECT = "prediction", "correct"
UNKNOWN = "unknown"  # the class of images that no model of a file answers right
_PER_REQUEST = "_per_request"
_COSTS = {"cost": "cost", "latency_ms": "latency_ms", "macs": "macs"}
_COSTS |= dict.fromkeys(("energy_j", "joules"), "energy_j")


@dataclass(frozen=True)
class AnswerColumns:
    """Of N answers; `costs` by the names of `cache.request_costs_schema`, `words` are the names of
    columns that are no numbers."""

    prediction: Array
    correct: Array | None
    confidences: Mapping[str, Array]
    costs: Mapping[str, Array]
    words: Sequence[str]


def answer_columns(contents: Contents, label: str | None) -> AnswerColumns:
    """InputError where the file holds no answers with confidences; `label` names its labels."""
    arrays, words, path = _columns(contents), _words(contents), contents.path
    costs: dict[str, Array] = {}
    for name, kind in ((each, _cost(each)) for each in arrays):
        if kind in costs:
            raise InputError(f"{path} tells what a request costs in {kind} twice: keep one column")
        if kind is not None:
            costs[kind] = arrays[name]
    apart = {PREDICTION, CORRECT, ORDER, *LABELS, label, *words}
    given = [name for name in arrays if name not in apart and _cost(name) is None]
    if PREDICTION not in arrays or not given:
        raise InputError(
            f"{path} holds no answers: give a column prediction, and one or more of numbers that "
            "say how sure each is, under their own names"
        )
    check_names(path, given, ())
    for name in given:
        if misnamed(name, "score") or name in {*SCORES, *functions()}.difference(LABEL_FREE):
            raise InputError(
                f"{path}: {name[:40]!r} cannot name a confidence: call the column otherwise"
            )
    confidences = {name: arrays[name] for name in given}
    left = [name for name in words if name not in (PREDICTION, CORRECT, *LABELS, label)]
    return AnswerColumns(arrays[PREDICTION], arrays.get(CORRECT), confidences, costs, left)


def _columns(contents: Contents) -> dict[str, Array]:
    """A model's own columns by their names; InputError for two that are called alike."""
    if isinstance(contents, NamedArrays):
        return dict(contents.named)
    names = [(k, contents.names[k]) for k in contents.own if contents.names]
    return {name: contents.array([k]) for k, name in names if contents.find(name) == k}


def _words(contents: Contents) -> list[str]:
    if isinstance(contents, NamedArrays):
        return []
    return [
        contents.names[k] for k in contents.own if contents.names and not contents.is_numbers(k)
    ]


def _cost(name: str) -> str | None:
    """Which kind of cost of a request a column of this name holds, if any."""
    unit = name.removesuffix(_PER_REQUEST)
    return _COSTS.get(unit, None if unit in (name, "") else unit)


def _of_all(contents: Contents, name: str) -> list[Array]:
    """The columns of this name of every model in the file."""
    if isinstance(contents, NamedArrays):
        return [contents.named[name]] if name in contents.named else []
    table: Table = contents.whole_file
    each = enumerate(table.names)
    return [table.array([k]) for k, there in each if there.rpartition(".")[2] == name]


def told_classes(
    store: Store,
    request: ImportRequest,
    known: Manifest | None,
    contents: Contents,
    beside: Array | None,
) -> tuple[tuple[str, ...], Array | None]:
    """(the names of classes where answers or labels are words: those of the data set in the cache,
    else all words there are; the labels beside the answers, else those that `correct` tells)."""
    if beside is None and request.labels is None and known is None and not request.unlabelled:
        beside = _graded(contents)
    arrays = [*_of_all(contents, PREDICTION), *([] if beside is None else [beside])]
    if request.labels is not None:
        arrays.append(open_contents(request.labels).labels(request.label_column))
    read = [(each, each.read().reshape(-1)) for each in arrays]
    texts = [values for _, values in read if values.dtype.kind in "OSU"]
    if not texts:
        return (), beside
    if known is not None or len(texts) < len(read):
        return (), beside  # what the words are of the numbers, --class-names has to tell
    there = (
        each.provenance.get("class_names") for each in cache.find(store, "samples", request.dataset)
    )
    words = set().union(*(values.astype(str).tolist() for values in texts))
    found = next(filter(None, there), sorted(words, key=lambda word: (word == UNKNOWN, word)))
    return tuple(found), beside


def _graded(contents: Contents) -> Array | None:
    """Labels by the models that are right; a class of its own where none is. None where the file
    does not say of each whether it is."""
    predictions, correct = (_of_all(contents, name) for name in (PREDICTION, CORRECT))
    if not correct or len(correct) != len(predictions):
        return None
    answers = np.stack([each.read().reshape(-1) for each in predictions])
    right = np.stack([as_booleans(each) for each in correct])
    rows = np.arange(answers.shape[1])
    labels = answers[right.argmax(axis=0), rows]
    known = right.any(axis=0)
    wrong = (right != (answers == labels)).any(axis=0) & known
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{contents.path}: {predictions[0].at(row)} has answers that contradict each other on "
            "which is right: mend `correct`, or give a label"
        )
    other = UNKNOWN if answers.dtype.kind in "OSU" else answers.max() + 1
    labels = np.where(known, labels.astype(object), other) if not known.all() else labels
    values = labels if answers.dtype.kind in "OSU" else labels.astype(np.int64)
    return Array(contents.path, values.shape, 8, lambda: values, (), predictions[0].at)


def as_booleans(array: Array) -> np.ndarray:
    """bool [N] of true and false, 1 and 0 or such words; InputError naming the row."""
    values = array.read().reshape(-1)
    words = np.char.lower(values.astype(str))
    right, wrong = (np.isin(words, each) for each in (_RIGHT, _WRONG))
    if not (right | wrong).all():
        row = int((right | wrong).argmin())
        raise InputError(
            f"{array.path}: {array.at(row)} has correct {values[row]}, expected 1 or 0"
        )
    return right


_RIGHT, _WRONG = ("true", "1", "1.0"), ("false", "0", "0.0")


def as_numbers_in(
    what: str, array: Array, n: int, least: float = -inf, most: float = inf
) -> np.ndarray:
    """float64 [n], finite and within these ends, else an InputError naming the row."""
    values = array.read().reshape(-1)
    if values.dtype.kind not in "fiu" or len(values) != n:
        raise InputError(f"{array.path} holds {len(values)} {values.dtype}: {what} is {n} numbers")
    found = np.ascontiguousarray(values, np.float64)
    fits = np.isfinite(found) & (found >= least) & (found <= most)
    if not fits.all():
        row = int(fits.argmin())
        within = f"from {least:g} to {most:g}" if most < inf else "0 or more" if least == 0 else ""
        raise InputError(
            f"{array.path}: {array.at(row)} has {what} {found[row]:g}, expected a finite number "
            f"{within}".rstrip()
        )
    return found


def check_correct(array: Array | None, predictions: np.ndarray, labels: np.ndarray) -> None:
    """InputError naming the first row whose `correct` contradicts its prediction and label, where
    there are labels."""
    if array is None or cache.unlabelled(labels):
        return
    wrong = as_booleans(array) != (predictions == labels)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{array.path}: {array.at(row)} contradicts itself: its prediction is "
            f"{predictions[row]}, its label {labels[row]}, and correct says otherwise"
        )
