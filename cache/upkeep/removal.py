"""What leaves a cache: partitions that somebody no longer wants, and what nobody can want."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import cache
from cache import KEYS, OUTPUTS, Partition, exists, load, locks, part_place, withdraw
from cache.locks import CLAIMS, BusyError, claimed, lock_to_delete
from cache.storage import FileEntry, InputError, Store
from cache.upkeep.overview import Selection, survey

HOUR_S = 3600.0
# Tables that mean nothing without another, at the same keys.
_DEPENDENTS = {
    "samples": (
        *OUTPUTS,
        "timings",
        "scores",
        "extra_scores",
        "top10",
        "request_costs",
        "hashes",
        "streams",
    ),
    "logits": ("timings", "scores", "extra_scores", "top10"),
    "probabilities": ("scores", "extra_scores"),
    "top_k": ("scores", "extra_scores"),
    "answers": ("scores", "extra_scores", "request_costs"),
    "scores": ("extra_scores",),
}


@dataclass(frozen=True)
class Going:
    """A partition that is to go, or gone."""

    partition: Partition
    rows: int
    files: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True)
class Waste:
    """A file that nobody needs; `kept` says why it is there all the same."""

    path: str
    why: str
    size_bytes: int
    kept: str | None = None


def chosen(store: Store, selection: Selection, damaged: bool = False) -> list[Going]:
    """The partitions selected, finished or not, and those that depend on them, sorted by path.

    With `damaged` only those whose manifest is, and nothing that depends on them: they are made
    again as they were.
    """
    everything = survey(store)
    there = [place for place, _ in everything.damaged] if damaged else everything.partitions
    found = {partition for partition in there if partition in selection}
    found |= {
        partition
        for partition in there
        for other in found
        if partition.table in _DEPENDENTS.get(other.table, ())
        and other.keys.items() <= partition.keys.items()
    }
    rows = {manifest.partition: manifest.rows for manifest in everything.complete}
    return [
        _going(store, partition, rows.get(partition, 0))
        for partition in sorted(found, key=lambda partition: partition.path)
    ]


def remove(
    store: Store, going: Sequence[Going], told: Callable[[str], None] = lambda line: None
) -> None:
    """Withdraw each partition, then delete its files; a reader meanwhile is told.

    What depends on others goes before them: where this is killed, what is left is sound, and still
    says what there is to remove.
    """
    order = list(KEYS)  # a table stands after those that it depends on
    last_first = sorted(going, key=lambda each: order.index(each.partition.table), reverse=True)
    for each in last_first:
        _remove(store, each.partition, told)
    for each in last_first:
        if exists(store, each.partition):  # made anew from what was still there
            _remove(store, each.partition, told)


def _remove(store: Store, partition: Partition, told: Callable[[str], None]) -> None:
    with lock_to_delete(store, partition.guard, told=told):
        withdraw(store, partition)
        cache.discard_parts(store, partition)


def collect(store: Store, older_than_s: float = HOUR_S, dry_run: bool = False) -> list[Waste]:
    """Delete, or with `dry_run` only list, what neither a reader nor a later run would use.

    Files that were never finished, files that no manifest and no receipt names, receipts of
    complete partitions, locks and claims of processes that are gone (a `dry_run` does not look at
    these). What is younger than `older_than_s` may be another's work, and what is locked is; parts
    of unfinished partitions with sound receipts stay for the run that goes on from them.
    """
    old = time.time() - older_than_s
    seen = survey(store)
    waste = {
        "was never finished": _unpublished(store),
        "no manifest names it": seen.strays,
        "no run goes on from it": [entry for _, entry in seen.idle_receipts],
    }
    found = [
        Waste(entry.path, why, entry.size_bytes)
        for why, entries in waste.items()
        for entry in entries
        if entry.changed is None or entry.changed < old
    ]
    if dry_run:
        return found
    return [_collected(store, waste) for waste in found] + _locks(store)


def _going(store: Store, partition: Partition, rows: int) -> Going:
    entries = store.entries(partition.path) + store.entries(cache.receipts_folder(partition))
    size = sum(entry.size_bytes for entry in entries)
    return Going(partition, rows, tuple(entry.path for entry in entries), size)


def _unpublished(store: Store) -> list[FileEntry]:
    return [e for e in store.entries(".tmp") if e.path.count("/") == 1 and e.path.endswith(".part")]


def _collected(store: Store, waste: Waste) -> Waste:
    """Deleted while nobody writes there, if it is still waste then."""
    partition = part_place(waste.path)
    if partition is None:
        store.delete(waste.path)
        return waste
    try:
        with lock_to_delete(store, partition.guard, wait=False):
            if _needed(store, partition, waste.path):
                return replace(waste, kept="it is in use by now")
            store.delete(waste.path)
    except BusyError as error:
        return replace(waste, kept=str(error))
    return waste


def _needed(store: Store, partition: Partition, path: str) -> bool:
    name = path.rpartition("/")[2]
    if path.startswith(cache.RECEIPTS):
        return not exists(store, partition) and cache.read_receipt(store, path) is not None
    try:
        found = load(store, partition)
    except InputError:
        return True
    named = {part.name for part in found.parts} if found else set()
    return name in named or any(r.part.name == name for r in cache.read_receipts(store, partition))


def _locks(store: Store) -> list[Waste]:
    """Files of locks and claims whose holders are gone: taking such a lock removes them."""
    found = []
    for folder, suffix, hold in _HOLDS:
        held: dict[str, list[FileEntry]] = {}
        for entry in store.entries(folder):
            name, dot, _ = entry.path[len(folder) + 1 :].rpartition(suffix)
            held.setdefault(name if dot else "", []).append(entry)
        held.pop("", None)
        found += [e for name, es in held.items() if _is_free(store, name, hold) for e in es]
    return [Waste(entry.path, "its holder is gone", entry.size_bytes) for entry in found]


def _is_free(store: Store, name: str, hold: _Hold) -> bool:
    try:
        with hold(store, name, False, False, lambda line: None):
            return True
    except BusyError:
        return False


_Hold = Callable[[Store, str, bool, bool, Callable[[str], None]], AbstractContextManager[None]]
_HOLDS: tuple[tuple[str, str, _Hold], ...] = (
    (locks.LOCKS, ".lock", locks.flocked),
    (CLAIMS, ".claims/", claimed),
)
