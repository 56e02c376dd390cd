"""Outputs from elsewhere → the cache, as if extracted; their runtime is `import`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Manifest, Partition, PartitionWriter, Provenance, Store
from stages.ingest import checks
from stages.ingest.answers import told_classes
from stages.ingest.kinds import kind_of
from stages.ingest.outputs import ModelOutputs, head_of
from stages.ingest.request import RUNTIME, ImportRequest
from stages.ingest.samples import (
    Contents,
    Labels,
    class_names,
    labels_beside,
    labels_of,
    open_contents,
)
from stages.ingest.tables import Table
from stages.models import check_name
from stages.scores import ScoredModel


@dataclass(frozen=True)
class ImportedModel(ScoredModel):
    """And as which kind, of how many classes, None where nobody knows, and what is odd of it."""

    kind: str
    classes: int | None
    macs: int | None
    warnings: Sequence[str]


@dataclass(frozen=True)
class PassedImport:
    """One model's outputs on one split that may be imported, `read` again where they were dropped;
    `own` are those of its other splits, `row` says what they are, and `classes` how many, None
    where nobody knows."""

    request: ImportRequest
    partition: Partition
    outputs: ModelOutputs | None
    read: Callable[[], ModelOutputs]
    labels: Labels
    classes: int | None
    own: Sequence[Manifest]
    row: ImportedModel

    def without_data(self) -> PassedImport:
        """What others of its split are held against, without its rows."""
        return replace(self, outputs=None)

    def write(self, store: Store) -> None:
        """Into the cache, as if extracted."""
        outputs = self.outputs or self.read()
        with cache.lock(store, self.partition.guard):
            _write(store, self, outputs)
        _share(store, self.own, self.request.macs)


def import_outputs(
    store: Store, request: ImportRequest, note: Callable[[str], None] = lambda line: None
) -> ImportedModel:
    """Import one model's outputs on one split; InputError for arrays that cannot be such.

    `note` is told what is odd about them.
    """
    checked = check(store, request, note, partial(open_contents, request.file))
    checked.write(store)
    return checked.row


def check(
    store: Store,
    request: ImportRequest,
    note: Callable[[str], None],
    contents: Callable[[], Contents],
) -> PassedImport:
    """The same, and nothing written; `contents` opens the file, or its part that is the model's."""
    _check_names(request)
    known = cache.load(store, request.samples)
    names = class_names(request, known)
    request, opened = _told(request, contents(), names)
    keys = {"dataset": request.dataset, "split": request.split, "variant": "identity"}
    partition = Partition.of(request.kind, **keys, runtime=RUNTIME, model=request.model)
    others = checks.siblings(store, partition)
    _check_kind(partition, others)
    this = {"model": request.model, "runtime": RUNTIME}
    own = [each for each in others if this.items() <= each.partition.keys.items()]
    if request.macs is None:
        request = replace(request, macs=_macs(own))
    beside = labels_beside(request, opened, names)
    told: tuple[str, ...] = ()
    if request.kind == "answers" and not names:
        told, beside = told_classes(store, request, known, opened, beside)
    head = head_of(request, opened, names or told, others)
    labels = labels_of(store, request, known, beside, head.array, told)
    outputs = head.read(labels.values)
    untold = known is None and head.classes is None and request.labels_from is None
    if untold and checks.from_one(outputs.answers, labels.values):
        request = replace(request, labels_from=1)
        labels = labels_of(store, request, known, beside, head.array, told)

    def read() -> ModelOutputs:
        _, again = _told(request, contents(), names)
        return head_of(request, again, names or told, others).read(labels.values)

    there = (outputs.answers, labels.values)
    classes = head.classes or 1 + max(int(each.max()) for each in there)
    chance = checks.chance(*there, classes)
    odd = checks.oddities(store, request, outputs.sha256, others)
    warnings = (*labels.odd, *outputs.odd, *chance, *odd)
    for each in warnings:
        note(f"warning: {each}")
    for each in outputs.said:
        note(each)
    accuracy = float((outputs.answers == labels.values).mean())
    where = (request.model, request.split, "identity", RUNTIME)
    about = (request.kind, head.classes, request.macs, warnings)
    row = ImportedModel(*where, len(labels.values), accuracy, *about)
    return PassedImport(request, partition, outputs, read, labels, head.classes, own, row)


def _told(
    request: ImportRequest, contents: Contents, names: Collection[str]
) -> tuple[ImportRequest, Contents]:
    """With the kind and the multiply-adds that the file tells, where the request does not."""
    macs = None
    if isinstance(contents, Table):
        contents, macs = contents.without_macs()
    kind = request.kind or kind_of(request, contents, names)
    macs = macs if request.macs is None else request.macs
    return replace(request, kind=kind, macs=macs), contents


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


def _write_costs(
    store: Store,
    outputs: Partition,
    costs: Mapping[str, np.ndarray],
    fingerprint: str,
    provenance: Provenance,
) -> None:
    """What each request cost, in place of what earlier outputs did; nothing where nobody knows."""
    place = Partition("request_costs", outputs.values)
    cache.withdraw(store, place)
    if costs:
        ids = np.arange(len(next(iter(costs.values()))))
        table = pa.table([ids, *costs.values()], schema=cache.request_costs_schema(tuple(costs)))
        cache.write_partition(store, place, table, {"dataset_fingerprint": fingerprint}, provenance)


def _write(store: Store, checked: PassedImport, outputs: ModelOutputs) -> None:
    """The outputs; before them the labels, but after the writer, which refuses other outputs."""
    request, labels = checked.request, checked.labels
    identity = {
        "dataset_fingerprint": labels.fingerprint,
        request.digest: outputs.sha256,
        "classes": checked.classes,
    }
    if request.kind == "answers":
        identity["confidences"] = outputs.schema.names[2:]
    provenance = {
        "made": cache.now(),
        "versions": cache.versions(),
        "source": Path(request.file).name,
        "trained_on": {"splits": list(request.trained_on), "source": request.trained_on_source},
        "macs": request.macs,
    }
    writer = PartitionWriter(
        store, checked.partition, outputs.schema, identity, provenance, overwrite=request.overwrite
    )
    labels.keep()
    if not writer.complete:
        _write_costs(store, checked.partition, outputs.costs, labels.fingerprint, provenance)
        for part, table in enumerate(outputs.parts()):
            writer.write(part, table)
        writer.finish(part + 1)
    stated = {"macs": request.macs is not None, "trained_on": request.trained_on_source == "stated"}
    writer.restate(*(field for field, is_stated in stated.items() if is_stated))
