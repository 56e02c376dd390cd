"""Labels that come back in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cache
from cache import InputError, Store, nearest
from stages.few_labels.folder import OTHER, Known
from stages.few_labels.stage import PlanProgress
from stages.ingest import FrameTable, open_frame
from stages.scores import ScoreSet, named_classes

_ID, _KEY, _LABEL = "sample_id", "key", "label"


@dataclass(frozen=True)
class Classes:
    """How many there are, None where nobody knows, and their names, if any."""

    count: int | None
    names: Sequence[str]

    @classmethod
    def of(cls, store: Store, scores: ScoreSet) -> Classes:
        names = named_classes(store, scores)
        manifest = cache.load(store, scores.manifests[0].partition.logits)
        known = None if manifest is None else manifest.identity.get("classes")
        return cls(len(names) or known, names)

    def name(self, label: int) -> str:
        return self.names[label] if label < len(self.names) else str(label)

    def label(self, word: str, where: str) -> int | None:
        """Of a class's name, or else its number; None of OTHER."""
        if word in self.names:
            return self.names.index(word)
        if word.casefold() == OTHER:
            return None
        number = int(word) if word.isascii() and word.isdecimal() else -1
        if number >= 0 and (self.count is None or number < self.count):
            return number
        near = nearest(word, [*self.names, OTHER])
        meant = f" (did you mean {near}?)" if near else ""
        most = "" if self.count is None else f", a number from 0 to {self.count - 1}"
        raise InputError(
            f"{where}: {word[:40]!r} is no class{meant}: give a class's name{most}, or {OTHER}"
        )


def brought(progress: PlanProgress, path: str, classes: Classes) -> Known:
    """The labels of a file that are new. InputError, and none of them counts, for an image that the
    plan does not ask for, one that is there twice, and a label that contradicts a known one."""
    found: dict[int, tuple[int | None, str]] = {}
    keys = progress.calibration.keys
    for where, sample, word in _rows(open_frame(path), progress):
        row = progress.calibration.rows[sample]
        if sample in found:
            other = found[sample][1]
            raise InputError(f"{where}: image {keys[row]} is also in {other}: keep one")
        label = classes.label(word, where)
        if sample in progress.known:
            _check_same(progress.known[sample], label, f"{where}: image {keys[row]}", classes)
        elif not progress.asked(row):
            raise InputError(
                f"{where}: no label is asked for image {keys[row]}, which would tell nothing: "
                "leave it out"
            )
        found[sample] = (label, where.rpartition(", ")[2])
    return {sample: label for sample, (label, _) in found.items() if sample not in progress.known}


def _check_same(before: int | None, label: int | None, what: str, classes: Classes) -> None:
    if before != label:
        first, now = (OTHER if each is None else classes.name(each) for each in (before, label))
        raise InputError(
            f"{what} is {now}, and was {first} before: correct the file, or take the label out of "
            "labels.json"
        )


def _rows(table: FrameTable, progress: PlanProgress) -> Iterator[tuple[str, int, str]]:
    """(where, sample id, label) of the rows that have a label."""
    places = {name: table.find(name) for name in (_ID, _KEY, _LABEL)}
    if places[_LABEL] is None or (places[_ID] is None and places[_KEY] is None):
        raise InputError(
            f"{table.path} needs the columns {_ID} or {_KEY}, and {_LABEL}: fill in to-label.csv"
        )
    columns = {name: _words(table, k) for name, k in places.items() if k is not None}
    by_key = dict(zip(progress.calibration.keys, progress.calibration.rows, strict=True))
    known = {str(sample): sample for sample in progress.calibration.rows}
    for row, word in enumerate(columns[_LABEL]):
        if not word:
            continue
        where = f"{table.path}, {table.at(row)}"
        yield where, _sample(where, row, columns, known, by_key), word


def _words(table: FrameTable, k: int) -> list[str]:
    series = table.frame.to_series(k)
    return ["" if each is None else str(each).strip() for each in series.to_list()]


def _sample(
    where: str,
    row: int,
    columns: Mapping[str, Sequence[str]],
    known: Mapping[str, int],
    by_key: Mapping[str, int],
) -> int:
    """By its id, and by its key where that is given."""
    found = set()
    for name, of in ((_ID, known), (_KEY, by_key)):
        word = columns[name][row] if name in columns else ""
        if word and word not in of:
            raise InputError(f"{where}: {name} {word[:80]!r} is no image of the plan: correct it")
        found |= {of[word]} if word else set()
    if len(found) != 1:
        told = "are of two images" if found else "are empty"
        raise InputError(f"{where}: {_ID} and {_KEY} {told}: correct it")
    return found.pop()
