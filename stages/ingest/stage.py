"""Outputs from elsewhere → the cache, as if extracted; their runtime is `import`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

import cache
from cache import PART_ROWS, InputError, Manifest, Partition, PartitionWriter, Store
from stages.ingest import checks
from stages.ingest.arrays import Array
from stages.ingest.probabilities import as_probabilities
from stages.ingest.request import RUNTIME, ImportRequest
from stages.ingest.samples import Labels, class_names, labels_beside, labels_of, open_contents
from stages.models import check_name
from stages.scores import ScoredModel

MOST_CLASSES = 1_000_000


def import_outputs(
    store: Store, request: ImportRequest, note: Callable[[str], None] = lambda line: None
) -> ScoredModel:
    """Import one model's outputs on one split; InputError for arrays that cannot be such.

    `note` is told what is odd about them.
    """
    _check_names(request)
    keys = {"dataset": request.dataset, "split": request.split, "variant": "identity"}
    partition = Partition.of(request.kind, **keys, runtime=RUNTIME, model=request.model)
    others = checks.siblings(store, partition)
    _check_kind(partition, others)
    this = {"model": request.model, "runtime": RUNTIME}
    own = [each for each in others if this.items() <= each.partition.keys.items()]
    if request.macs is None:
        request = replace(request, macs=_macs(own))
    known = cache.load(store, request.samples)
    contents, names = open_contents(request.file), class_names(request, known)
    beside = labels_beside(request, contents, names)
    array = contents.logits(request.logits_column, request.label_column, names)
    n, classes = checked_shape(array, request.kind)
    checks.same_classes(others, request.file, classes)
    labels = labels_of(store, request, known, beside, array)
    values = array.read()
    outputs = _AS[request.kind](values, array)
    checks.all_classes(values, array, labels.values)
    odd: list[str] = []
    if request.kind == "logits":
        checks.no_probabilities(outputs, request.file)
        odd += checks.shares(outputs, request.file)
        odd += checks.rounding(values, outputs, request.file)
    answers = outputs.argmax(axis=1)
    odd += checks.chance(answers, labels.values, classes)
    odd += checks.oddities(store, request, _sha256(outputs), others)
    for each in odd:
        note(f"warning: {each}")
    with cache.lock(store, partition.guard):
        _write(store, partition, request, outputs, labels)
    _share(store, own, request.macs)
    accuracy = float((answers == labels.values).mean())
    return ScoredModel(request.model, request.split, "identity", RUNTIME, n, accuracy)


def _check_names(request: ImportRequest) -> None:
    """InputError for a name that could not be asked for, as lists of names are cut at commas."""
    check_name(request.model)
    for what, name in (("dataset", request.dataset), ("split", request.split)):
        if "," in name or name != name.strip():
            raise InputError(
                f"{what} name {name!r} could not be asked for: leave out ',' and blanks around it"
            )


def _check_kind(partition: Partition, others: Sequence[Manifest]) -> None:
    """InputError where the model has outputs of another kind on these images."""
    for each in others:
        there = each.partition
        if there.values == partition.values and there.table != partition.table:
            raise InputError(
                f"the cache has {there}: give another --model, or remove those (`cascade cache rm`)"
            )


def _macs(own: Sequence[Manifest]) -> int | None:
    return next((macs for each in own if (macs := each.provenance.get("macs")) is not None), None)


def _share(store: Store, own: Sequence[Manifest], macs: int | None) -> None:
    """A model costs the same on all its splits."""
    for each in own if macs is not None else ():
        with cache.lock(store, each.partition.guard):
            cache.restate(store, each, macs=macs)


def _write(
    store: Store, partition: Partition, request: ImportRequest, outputs: np.ndarray, labels: Labels
) -> None:
    """The outputs; before them the labels, but after the writer, which refuses other outputs."""
    n, classes = outputs.shape
    identity = {
        "dataset_fingerprint": labels.fingerprint,
        request.digest: _sha256(outputs),
        "classes": classes,
    }
    provenance = {
        "made": cache.now(),
        "versions": cache.versions(),
        "source": Path(request.file).name,
        "trained_on": {"splits": list(request.trained_on), "source": request.trained_on_source},
        "macs": request.macs,
    }
    schema = cache.logits_schema(classes)
    if request.kind == "probabilities":
        schema = cache.probabilities_schema(classes, pa.from_numpy_dtype(outputs.dtype))
    writer = PartitionWriter(
        store, partition, schema, identity, provenance, overwrite=request.overwrite
    )
    labels.keep()
    if not writer.complete:
        starts = range(0, n, PART_ROWS)
        for part, start in enumerate(starts):
            rows = outputs[start : start + PART_ROWS]
            ids = np.arange(start, start + len(rows))
            column = pa.FixedSizeListArray.from_arrays(
                pa.array(rows.reshape(-1)), type=schema.field(request.kind).type
            )
            writer.write(part, pa.table([ids, column], schema=schema))
        writer.finish(len(starts))
    stated = {"macs": request.macs is not None, "trained_on": request.trained_on_source == "stated"}
    writer.restate(*(field for field, is_stated in stated.items() if is_stated))


def _sha256(outputs: np.ndarray) -> str:
    return hashlib.sha256(outputs.data).hexdigest()


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


_AS = {"logits": as_logits, "probabilities": as_probabilities}
_CLIP = ": where these are logarithms of probabilities, take log(max(p, 1e-12))"
