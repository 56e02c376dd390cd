"""Logits from elsewhere → the cache, as if extracted; their runtime is `import`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Manifest, Partition, PartitionWriter, Store
from cache.provenance import now, versions
from cache.schema import PART_ROWS, logits_schema
from stages import import_checks
from stages.arrays import columns_of, read_array
from stages.import_samples import Labels, checked
from stages.models.choice import check_name

RUNTIME = "import"


@dataclass(frozen=True)
class Request:
    """`logits`, `labels` and `class_names` are files.

    Without labels the split must be in the cache already.
    """

    dataset: str
    split: str
    model: str
    logits: str
    labels: str | None = None
    trained_on: tuple[str, ...] = ("train",)
    trained_on_source: str = "assumed"
    macs: int | None = None
    overwrite: bool = False
    class_names: str | None = None


def run(
    store: Store, request: Request, note: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Import one model's logits of one split; InputError for arrays that cannot be such.

    `note` is told what is odd about them.
    """
    check_name(request.model)
    keys = {"dataset": request.dataset, "split": request.split, "variant": "identity"}
    partition = Partition.of("logits", **keys, runtime=RUNTIME, model=request.model)
    logits = as_logits(read_array(request.logits), request.logits)
    others = import_checks.siblings(store, partition)
    own = [each for each in others if import_checks.same_model(each, partition)]
    if request.macs is None:
        request = replace(request, macs=_macs(own))
    import_checks.same_classes(others, request.logits, logits.shape[1])
    labels = checked(store, request, logits)
    for odd in import_checks.oddities(store, request, logits, _sha256(logits), others):
        note(f"warning: {odd}")
    with cache.lock(store, partition.guard):
        _write(store, partition, request, logits, labels)
    _share(store, own, request.macs)
    return {
        "model": request.model,
        "split": request.split,
        "variant": "identity",
        "runtime": RUNTIME,
        "rows": len(logits),
        "accuracy": float((logits.argmax(axis=1) == labels.values).mean()),
    }


def _macs(own: Sequence[Manifest]) -> int | None:
    return next((macs for each in own if (macs := each.provenance.get("macs")) is not None), None)


def _share(store: Store, own: Sequence[Manifest], macs: int | None) -> None:
    """A model costs the same on all its splits."""
    for each in own if macs is not None else ():
        with cache.lock(store, each.partition.guard):
            cache.restate(store, each, macs=macs)


def _write(
    store: Store, partition: Partition, request: Request, logits: np.ndarray, labels: Labels
) -> None:
    """The logits; before them the labels, but after the writer, which refuses other logits."""
    identity = {
        "dataset_fingerprint": labels.fingerprint,
        "logits_sha256": _sha256(logits),
        "classes": logits.shape[1],
    }
    provenance = {
        "made": now(),
        "versions": versions(),
        "source": Path(request.logits).name,
        "trained_on": {"splits": list(request.trained_on), "source": request.trained_on_source},
        "macs": request.macs,
    }
    schema = logits_schema(logits.shape[1])
    writer = PartitionWriter(
        store, partition, schema, identity, provenance, overwrite=request.overwrite
    )
    labels.keep()
    if not writer.complete:
        starts = range(0, len(logits), PART_ROWS)
        for part, start in enumerate(starts):
            rows = logits[start : start + PART_ROWS]
            ids = np.arange(start, start + len(rows))
            column = pa.FixedSizeListArray.from_arrays(
                pa.array(rows.reshape(-1)), type=schema.field("logits").type
            )
            writer.write(part, pa.table([ids, column], schema=schema))
        writer.finish(len(starts))
    stated = {"macs": request.macs is not None, "trained_on": request.trained_on_source == "stated"}
    writer.restate(*(field for field, is_stated in stated.items() if is_stated))


def _sha256(logits: np.ndarray) -> str:
    return hashlib.sha256(logits.data).hexdigest()


def as_logits(values: np.ndarray, where: str) -> np.ndarray:
    """float32 [N, K] with N ≥ 1, K ≥ 2 and finite values, or an InputError naming the row."""
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise InputError(f"{where} has shape {values.shape}: logits are N × K, with K of 2 or more")
    if values.dtype.kind not in "fiu":
        raise InputError(f"{where} holds {values.dtype}, not numbers{_told_words(values, where)}")
    finite = np.isfinite(values).all(axis=1)
    with np.errstate(over="ignore"):
        logits = np.ascontiguousarray(values, dtype=np.float32)
    finite &= np.isfinite(logits).all(axis=1)
    if not finite.all():
        row = int(finite.argmin())
        what = f"{where}: row {row} has a NaN or infinite logit"
        raise InputError(f"{what}{_CLIP if np.isneginf(logits[row]).any() else ''}")
    return logits


_CLIP = ": where these are logarithms of probabilities, take log(max(p, 1e-12))"


def _told_words(values: np.ndarray, where: str) -> str:
    """Which column is none of a class, where others hold numbers."""
    words = [column for column, cell in enumerate(values[0]) if isinstance(cell, str)]
    if not 0 < len(words) < values.shape[1]:
        return ""
    names = columns_of(where)
    name = f"{names[words[0]]!r}" if names else str(words[0])
    return f": column {name} has words such as {values[0, words[0]][:40]!r}, leave it out"
