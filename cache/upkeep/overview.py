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
    manifest_place,
    part_place,
)
from cache.storage import FileEntry, Store, one_of

_Placed = tuple[Partition | None, FileEntry]


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
        found |= {place for entry in self.strays if (place := part_place(entry.path))}
        return sorted(found, key=lambda partition: partition.path)


def survey(store: Store, selection: Selection | None = None) -> Survey:
    """Reads every manifest and receipt, and no part."""
    chosen = selection if selection is not None else Selection()
    data = _listed(store, "", chosen, part_place)
    manifests = _listed(store, f"{MANIFESTS}/", chosen, manifest_place)
    receipts = _listed(store, f"{cache.RECEIPTS}/", chosen, part_place)

    loaded = store.each(lambda place: _loaded(store, place), _places(manifests))
    complete = tuple(found for found in loaded if isinstance(found, Manifest))
    damaged = tuple(found for found in loaded if isinstance(found, tuple))
    whole = {manifest.partition for manifest in complete}
    unfinished = [
        Unfinished(place, tuple(cache.read_receipts(store, place)))
        for place in _places(receipts)
        if place not in whole
    ]
    sound = {cache.receipt_path(u.partition, r.part) for u in unfinished for r in u.receipts}
    named = {f"{m.partition.path}/{part.name}" for m in complete for part in m.parts}
    named |= {f"{u.partition.path}/{r.part.name}" for u in unfinished for r in u.receipts}
    spared = {partition for partition, _ in damaged}
    strays = [entry for place, entry in data if entry.path not in named and place not in spared]
    return Survey(
        complete,
        damaged,
        tuple(each for each in unfinished if each.receipts),
        (*strays, *(entry for place, entry in manifests if place is None)),
        tuple((place, e) for place, e in receipts if place is not None and e.path not in sound),
        cache.read_marker(store),
    )


def _listed(
    store: Store, above: str, chosen: Selection, place_of: Callable[[str], Partition | None]
) -> list[_Placed]:
    """The files of the chosen partitions below a folder, each with its partition."""
    whole = not chosen.tables and above
    folders = [above[:-1]] if whole else [f"{above}{table}" for table in chosen.tables or KEYS]
    entries = [entry for found in store.each(store.entries, folders) for entry in found]
    placed = [(place_of(entry.path), entry) for entry in entries]
    return [(place, entry) for place, entry in placed if place in chosen]


def _places(placed: Sequence[_Placed]) -> list[Partition]:
    return list(dict.fromkeys(place for place, _ in placed if place is not None))


def _loaded(store: Store, place: Partition) -> Manifest | tuple[Partition, str] | None:
    """The manifest, or what is wrong with it."""
    try:
        return load(store, place)
    except DamagedManifestError as error:
        return place, f"is no manifest as it was written ({type(error.__cause__).__name__})"
    except OtherVersionError:
        return place, "is of another version of this program"
