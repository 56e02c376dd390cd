"""What lies in a cache, from one listing: complete partitions, unfinished ones, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cache
from cache import (
    KEYS,
    MANIFESTS,
    DamagedManifestError,
    Manifest,
    OtherVersionError,
    Partition,
    Receipt,
    load,
    manifest_path,
)
from cache.storage import FileEntry, Store, one_of


@dataclass(frozen=True)
class Selection:
    """Partitions whose table and keys are among those named; everything where nothing is named.

    A partition without a key that is named is not selected: no samples by their model.
    """

    tables: tuple[str, ...] = ()
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table in self.tables:
            if table not in KEYS:
                raise one_of("table", table, KEYS)

    def __bool__(self) -> bool:
        return bool(self.tables or self.keys)

    def __contains__(self, partition: object) -> bool:
        if not isinstance(partition, Partition):
            return not self  # a file at no partition's place belongs to the whole cache only
        if self.tables and partition.table not in self.tables:
            return False
        return all(partition.keys.get(key) in names for key, names in self.keys.items())


@dataclass(frozen=True)
class Unfinished:
    """Parts of a partition that is not complete, by their receipts."""

    partition: Partition
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True)
class Survey:
    """`damaged`: partitions whose manifest is, and why. `strays`: what no manifest names, and no
    receipt of an unfinished partition. `idle_receipts`: those that no run will go on from.
    `unfinished_copy`: what a published copy is to hold whose export has not come to its end.
    """

    complete: tuple[Manifest, ...]
    damaged: tuple[tuple[Partition, str], ...]
    unfinished: tuple[Unfinished, ...]
    strays: tuple[FileEntry, ...]
    idle_receipts: tuple[tuple[Partition, FileEntry], ...]
    unfinished_copy: cache.Request | None = None

    @property
    def partitions(self) -> list[Partition]:
        """All that anything is there of, sorted by path."""
        found = {manifest.partition for manifest in self.complete}
        found |= {partition for partition, _ in self.damaged}
        found |= {each.partition for each in self.unfinished}
        places = {_partition_at(_folder(entry.path)) for entry in self.strays}
        found |= {place for place in places if place is not None}
        return sorted(found, key=lambda partition: partition.path)


def survey(store: Store, selection: Selection | None = None) -> Survey:
    """Reads every manifest and receipt, and no part."""
    chosen = selection if selection is not None else Selection()
    data = _listed(store, "", chosen)
    there, odd = _by_partition(_listed(store, f"{MANIFESTS}/", chosen), _of_manifest)
    complete, damaged = _manifests(store, [place for place in there if place in chosen])
    whole = {manifest.partition for manifest in complete}
    receipted, _ = _by_partition(_listed(store, f"{cache.RECEIPTS}/", chosen), _of_receipt)
    receipted = {place: found for place, found in receipted.items() if place in chosen}
    unfinished = [
        Unfinished(place, tuple(cache.read_receipts(store, place)))
        for place in receipted
        if place not in whole
    ]
    paths = {cache.receipt_path(u.partition, r.part) for u in unfinished for r in u.receipts}
    idle = [(place, e) for place, es in receipted.items() for e in es if e.path not in paths]
    named = {f"{m.partition.path}/{part.name}" for m in complete for part in m.parts}
    named |= {f"{u.partition.path}/{r.part.name}" for u in unfinished for r in u.receipts}
    spared = {partition.path for partition, _ in damaged}
    strays = [
        entry
        for entry in data
        if entry.path not in named
        and _folder(entry.path) not in spared
        and _partition_at(_folder(entry.path)) in chosen
    ]
    return Survey(
        complete,
        damaged,
        tuple(each for each in unfinished if each.receipts),
        (*strays, *([] if chosen else odd)),
        tuple(idle),
        cache.read_marker(store),
    )


def _listed(store: Store, above: str, chosen: Selection) -> list[FileEntry]:
    whole = not chosen.tables and above
    folders = [above[:-1]] if whole else [f"{above}{table}" for table in chosen.tables or KEYS]
    return [entry for found in store.each(store.entries, folders) for entry in found]


def _by_partition(
    entries: Sequence[FileEntry], place_of: Callable[[str], Partition | None]
) -> tuple[dict[Partition, list[FileEntry]], list[FileEntry]]:
    """Entries by the partition that their path is about, and those about none."""
    found: dict[Partition, list[FileEntry]] = {}
    odd = []
    for entry in entries:
        place = place_of(entry.path)
        if place is None:
            odd.append(entry)
        else:
            found.setdefault(place, []).append(entry)
    return found, odd


def _of_manifest(path: str) -> Partition | None:
    place = _partition_at(path[len(MANIFESTS) + 1 :].removesuffix(".json"))
    return place if place and manifest_path(place) == path else None


def _of_receipt(path: str) -> Partition | None:
    return _partition_at(_folder(path)[len(cache.RECEIPTS) + 1 :])


def _partition_at(path: str) -> Partition | None:
    try:
        return Partition.parse(path)
    except ValueError:
        return None


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _manifests(
    store: Store, places: Sequence[Partition]
) -> tuple[tuple[Manifest, ...], tuple[tuple[Partition, str], ...]]:
    """Those that are sound, and of the others what is wrong."""
    loaded = store.each(lambda place: _loaded(store, place), places)
    pairs = list(zip(places, loaded, strict=True))
    return (
        tuple(found for found in loaded if isinstance(found, Manifest)),
        tuple((place, found) for place, found in pairs if isinstance(found, str)),
    )


def _loaded(store: Store, place: Partition) -> Manifest | str | None:
    try:
        return load(store, place)
    except DamagedManifestError as error:
        return f"is no manifest as it was written ({type(error.__cause__).__name__})"
    except OtherVersionError:
        return "is of another version of this program"
