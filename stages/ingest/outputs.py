"""What a file says of N images, by kind: its head, from which labels are told, then its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Manifest
from stages.ingest import checks
from stages.ingest.answers import answer_columns, as_numbers_in, check_correct
from stages.ingest.arrays import Array
from stages.ingest.probabilities import as_probabilities
from stages.ingest.request import ImportRequest
from stages.ingest.samples import Contents, as_labels
from stages.ingest.top_k import as_top_k, top_k_arrays
from stages.scores import LABEL_FREE, named

MOST_CLASSES = 1_000_000
_PART_BYTES = 1 << 25  # in which narrow rows are more than those of a thousand logits


@dataclass(frozen=True)
class ModelOutputs:
    """`lists` [N, …] are the columns of their table beside sample_id, as `schema` has them;
    `answers` int [N]; `odd` are warnings, `said` is what else is told; `costs` float64 [N] each, of
    every request."""

    lists: tuple[np.ndarray, ...]
    schema: pa.Schema
    answers: np.ndarray
    odd: Sequence[str] = ()
    said: Sequence[str] = ()
    costs: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for each in (*self.lists, *self.costs.values()):
            digest.update(each.data)
        return digest.hexdigest()

    def parts(self) -> Iterator[pa.Table]:
        """Rows for the parts of their partition."""
        step = max(cache.PART_ROWS, _PART_BYTES // sum(each[0].nbytes for each in self.lists))
        for start in range(0, len(self.answers), step):
            rows = [each[start : start + step] for each in self.lists]
            columns = [
                pa.array(values)
                if values.ndim == 1
                else pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), type=one.type)
                for values, one in zip(rows, list(self.schema)[1:], strict=True)
            ]
            ids = np.arange(start, start + len(rows[0]))
            yield pa.table([ids, *columns], schema=self.schema)


@dataclass(frozen=True)
class Head:
    """Of a file of which little was read: `array` tells its shape, N × K, and its columns; K
    `classes`, None where nobody knows. `read`: labels int32 [N] → the rows."""

    array: Array
    classes: int | None
    read: Callable[[np.ndarray], ModelOutputs]


def head_of(
    request: ImportRequest,
    contents: Contents,
    names: Sequence[str],
    others: Sequence[Manifest],
) -> Head:
    """InputError for a file that holds no outputs of the request's kind."""
    if request.kind == "top_k":
        return _top_k(contents, names, others)
    if request.kind == "answers":
        return _answers(request, contents, names, others)
    array = contents.logits(request.logits_column, request.label_column, names)
    _, classes = checked_shape(array, request.kind)
    checks.same_classes(others, request.file, classes)

    def read(labels: np.ndarray) -> ModelOutputs:
        values = array.read()
        rows, schema, odd = _ROWS[request.kind](values, array)
        checks.all_classes(values, array, labels)
        return ModelOutputs((rows,), schema, rows.argmax(axis=1), odd)

    return Head(array, classes, read)


def _logits(values: np.ndarray, array: Array) -> tuple[np.ndarray, pa.Schema, list[str]]:
    logits = as_logits(values, array)
    checks.no_probabilities(logits, array.path)
    odd = [*checks.shares(logits, array.path), *checks.rounding(values, logits, array.path)]
    return logits, cache.logits_schema(logits.shape[1]), odd


def _probabilities(values: np.ndarray, array: Array) -> tuple[np.ndarray, pa.Schema, list[str]]:
    p = as_probabilities(values, array)
    return p, cache.probabilities_schema(p.shape[1], pa.from_numpy_dtype(p.dtype)), []


_ROWS: Mapping[str, Callable[[np.ndarray, Array], tuple[np.ndarray, pa.Schema, list[str]]]] = {
    "logits": _logits,
    "probabilities": _probabilities,
}


def _top_k(contents: Contents, names: Collection[str], others: Sequence[Manifest]) -> Head:
    arrays = top_k_arrays(contents)
    classes = _classes(names, others)
    shape = (arrays["classes"].shape[0], classes or MOST_CLASSES)

    def read(labels: np.ndarray) -> ModelOutputs:
        numbers, p = as_top_k(arrays, classes)
        schema = cache.top_k_schema(p.shape[1], pa.from_numpy_dtype(p.dtype))
        return ModelOutputs((numbers, p), schema, numbers[:, 0])

    return Head(replace(arrays["classes"], shape=shape, columns=()), classes, read)


def _classes(names: Collection[str], others: Sequence[Manifest]) -> int | None:
    return len(names) or next(filter(None, (each.identity.get("classes") for each in others)), None)


def _answers(
    request: ImportRequest,
    contents: Contents,
    names: Sequence[str],
    others: Sequence[Manifest],
) -> Head:
    found = answer_columns(contents, request.label_column)
    classes = _classes(names, others)
    n = found.prediction.shape[0]
    head = replace(found.prediction, shape=(n, classes or MOST_CLASSES), columns=())

    def read(labels: np.ndarray) -> ModelOutputs:
        predictions = as_labels(found.prediction, head, names, 0, "prediction").values
        check_correct(found.correct, predictions, labels)
        given = {
            name: as_numbers_in(name, array, n, *((0, 1) if name in LABEL_FREE else ()))
            for name, array in found.confidences.items()
        }
        costs = {kind: as_numbers_in(kind, array, n, 0) for kind, array in found.costs.items()}
        surer = (f"{'larger' if named(each).sign > 0 else 'smaller'} {each}" for each in given)
        said = [f"{request.file}: the surer answer has the {', the '.join(surer)}"]
        odd = [f"column {name!r} of {request.file} is words: left out" for name in found.words]
        schema = cache.answers_schema(tuple(given))
        return ModelOutputs((predictions, *given.values()), schema, predictions, odd, said, costs)

    return Head(head, classes, read)


def checked_shape(array: Array, kind: str) -> tuple[int, int]:
    """(N, K) with N ≥ 1 and K ≥ 2, else an InputError; nothing of the array is read."""
    n, classes = array.shape if len(array.shape) == 2 else (0, 0)
    if n < 1 or not 2 <= classes <= MOST_CLASSES:
        bound = f"{MOST_CLASSES:,} or less" if n and classes > 1 else "2 or more"
        raise InputError(
            f"{array.path} has shape {array.shape}: {kind} are N × K, with K of {bound}"
        )
    return n, classes


def as_logits(values: np.ndarray, array: Array) -> np.ndarray:
    """The values of an array [N, K] as finite float32, or an InputError naming the row."""
    if values.dtype.kind not in "fiu":
        raise InputError(f"{array.path} holds {values.dtype}, not numbers")
    with np.errstate(over="ignore"):
        logits = np.ascontiguousarray(values, dtype=np.float32)
    finite = np.isfinite(logits)
    if not finite.all():
        row, column = divmod(int(finite.argmin()), logits.shape[1])
        name = repr(array.columns[column]) if array.columns else column
        if np.isfinite(values[row, column]):
            raise InputError(
                f"{array.path}: {array.at(row)} has a logit of {values[row, column]:.3g} (column "
                f"{name}), beyond float32, which ends at 3.4e38: check how the logits were made"
            )
        raise InputError(
            f"{array.path}: {array.at(row)} has a NaN or infinite logit (column {name})"
            f"{_CLIP if np.isneginf(values[row]).any() else ''}"
        )
    return logits


_CLIP = ": where these are logarithms of probabilities, take log(max(p, 1e-12))"
