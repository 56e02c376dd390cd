"""Outputs from elsewhere → the cache, as if extracted; their runtime is `import`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Manifest, Partition, PartitionWriter, PartWriter, Provenance, Store
from stages.ingest import checks
from stages.ingest.answers import told_classes
from stages.ingest.arrays import Array
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
    """One model's outputs on one split that may be imported, `read` again where they were dropped
    and their parts are not there; `costs`: they tell those of each request; `made`, what they are
    made from; `own` are those of its other splits, and `row` says what they are."""

    request: ImportRequest
    partition: Partition
    outputs: ModelOutputs | None
    read: Callable[[], ModelOutputs]
    labels: Labels
    costs: bool
    made: PartWriter
    own: Sequence[Manifest]
    row: ImportedModel

    @property
    def classes(self) -> int | None:
        return self.row.classes

    def without_data(self) -> PassedImport:
        """What others of its split are held against, without its rows."""
        return replace(self, outputs=None)

    def stage(self, store: Store) -> None:
        """Write its parts, which nobody sees until it is published; not in place of what is there,
        and not without what each request cost."""
        outputs = self.outputs or self.read()
        with cache.lock(store, self.partition.guard):
            if not self.request.overwrite and cache.sound(store, self.partition):
                PartitionWriter.of(self.made)  # which refuses other outputs, before any are there
            if not self.costs and not cache.exists(store, self.partition):
                for part, table in enumerate(outputs.parts()):
                    self.made.write(part, table)

    def discard(self, store: Store) -> None:
        """Remove what was staged and not published."""
        guard = self.partition.guard
        with cache.lock(store, guard):
            if not cache.exists(store, self.partition):
                cache.discard_parts(store, self.partition)
        store.prune(f"{cache.LOCKS}/{guard}")

    def publish(self, store: Store) -> None:
        """Into the cache, as if extracted."""
        with cache.lock(store, self.partition.guard):
            _publish(store, self)
        _share(store, self.own, self.request.macs)


def import_outputs(
    store: Store, request: ImportRequest, note: Callable[[str], None] = lambda line: None
) -> ImportedModel:
    """Import one model's outputs on one split; InputError for arrays that cannot be such.

    `note` is told what is odd about them.
    """
    checked = check(store, request, note, partial(open_contents, request.file))
    checked.publish(store)
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
    request, beside = _unlabelled(request, beside, note)
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
    chance = checks.chance(*there, classes) if labels.known else ()
    sha256 = outputs.sha256
    odd = checks.oddities(store, request, sha256, others)
    warnings = (*labels.odd, *outputs.odd, *chance, *odd)
    for each in warnings:
        note(f"warning: {each}")
    for each in outputs.said:
        note(each)
    accuracy = float((outputs.answers == labels.values).mean()) if labels.known else None
    where = (request.model, request.split, "identity", RUNTIME)
    about = (request.kind, head.classes, request.macs, warnings)
    row = ImportedModel(*where, len(labels.values), accuracy, *about)
    made = _made(store, partition, request, labels, head.classes, outputs, sha256)
    return PassedImport(
        request, partition, outputs, read, labels, bool(outputs.costs), made, own, row
    )


def _unlabelled(
    request: ImportRequest, beside: Array | None, note: Callable[[str], None]
) -> tuple[ImportRequest, Array | None]:
    """Without the labels, where nobody is to know them."""
    if not request.unlabelled:
        return request, beside
    for path in dict.fromkeys((request.labels, None if beside is None else beside.path)):
        if path is not None:
            note(f"the labels in {path} are left out (--unlabelled)")
    return replace(request, labels=None), None


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


def _made(
    store: Store,
    partition: Partition,
    request: ImportRequest,
    labels: Labels,
    classes: int | None,
    outputs: ModelOutputs,
    sha256: str,
) -> PartWriter:
    """What the partition is made from."""
    identity = {
        "dataset_fingerprint": labels.fingerprint,
        request.digest: sha256,
        "classes": classes,
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
    return PartWriter(store, partition, outputs.schema, identity, provenance)


def _publish(store: Store, checked: PassedImport) -> None:
    """The outputs; before them the labels, but after the writer, which refuses other outputs."""
    request, labels = checked.request, checked.labels
    writer = PartitionWriter.of(checked.made, request.overwrite)
    labels.keep()
    if not writer.complete:
        _finish(store, checked, writer)
    stated = {"macs": request.macs is not None, "trained_on": request.trained_on_source == "stated"}
    writer.restate(*(field for field, is_stated in stated.items() if is_stated))


def _finish(store: Store, checked: PassedImport, writer: PartitionWriter) -> None:
    """What is staged as a whole is read and cut no second time."""
    rows = sum(part.rows for part in writer.done.values())
    staged = rows == checked.row.rows and not checked.costs
    outputs = None if staged else checked.outputs or checked.read()
    costs, fingerprint = outputs.costs if outputs else {}, checked.labels.fingerprint
    _write_costs(store, checked.partition, costs, fingerprint, writer.provenance)
    count = len(writer.done)
    for count, table in enumerate(outputs.parts() if outputs else (), start=1):
        writer.write(count - 1, table)
    writer.finish(count)
