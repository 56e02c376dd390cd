"""A partition is complete when its manifest exists; readers ignore what no manifest names."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from cache.partition import Partition, path_segments
from cache.provenance import digest
from cache.schema import READABLE, SCHEMA_VERSION
from cache.storage import InputError, Store

MANIFESTS = "_manifests"


@dataclass(frozen=True)
class Part:
    """One finished Parquet file of a partition."""

    name: str
    rows: int
    size_bytes: int
    sha256: str


def part_name(index: int) -> str:
    return f"part-{index:05d}.parquet"


def part_index(name: str) -> int:
    """The inverse of `part_name`."""
    return int(name[5:].partition(".")[0])


def part_from(value: dict[str, Any]) -> Part:
    """A Part as JSON gave it; ValueError or TypeError for one that nobody can have written."""
    part = Part(**value)
    counts = (part.rows, part.size_bytes)
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError(f"no counts: {counts}")
    if not re.fullmatch(r"[0-9a-f]{64}", part.sha256):
        raise ValueError("no SHA-256")
    written = re.fullmatch(r"part-[0-9]{5,9}\.parquet", part.name, re.ASCII)
    if not written or part.name != part_name(part_index(part.name)):
        raise ValueError(f"{part.name!r} is no name of a part")
    return part


class DamagedManifestError(InputError):
    """A manifest that is not what was written: nothing in it is believed."""


class OtherVersionError(InputError):
    """A manifest of another schema version than this program's."""


@dataclass(frozen=True)
class Manifest:
    """`identity` is what must agree for rows to be mixed or reused; `provenance` is the rest."""

    partition: Partition
    parts: tuple[Part, ...]
    identity: dict[str, Any]
    provenance: dict[str, Any]
    schema_version: int = SCHEMA_VERSION

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    @property
    def fingerprint(self) -> str | None:
        """Of the dataset split that the rows are about."""
        return self.identity.get("dataset_fingerprint")

    @property
    def labelled(self) -> bool:
        """Of samples: whether their labels are known."""
        return bool(self.provenance.get("labelled", True))

    @property
    def content(self) -> str:
        """A digest of the rows, through the parts' own."""
        return digest([part.sha256 for part in self.parts])

    def to_json(self) -> str:
        body = {
            "schema_version": self.schema_version,
            "table": self.partition.table,
            "keys": self.partition.keys,
            "rows": self.rows,
            "parts": [asdict(part) for part in self.parts],
            "identity": self.identity,
            "provenance": self.provenance,
        }
        body["sha256"] = digest(body)  # of everything else: a changed value is damage, too
        return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def manifest_path(partition: Partition) -> str:
    return f"{MANIFESTS}/{partition.path}.json"


def manifest_place(path: str) -> Partition | None:
    """The inverse of `manifest_path`; None for a path that is no manifest's."""
    place = Partition.at(path.removeprefix(f"{MANIFESTS}/").removesuffix(".json"))
    return place if place and manifest_path(place) == path else None


def exists(store: Store, partition: Partition) -> bool:
    """Whether there is a manifest, sound or not."""
    return store.exists(manifest_path(partition))


def load(store: Store, partition: Partition) -> Manifest | None:
    """The partition's manifest, or None where the partition is not complete."""
    return load_path(store, manifest_path(partition))


def find(store: Store, table: str, *leading: str) -> list[Manifest]:
    """All complete partitions of a table whose first keys have these values, sorted by path."""
    folder = "/".join([MANIFESTS, table, *path_segments(table, leading)])
    paths = [path for path in store.files(folder) if path.endswith(".json")]
    found = store.each(lambda path: load_path(store, path), paths)
    return [manifest for manifest in found if manifest is not None]


def publish(store: Store, manifest: Manifest) -> None:
    store.write(manifest_path(manifest.partition), manifest.to_json().encode())


def withdraw(store: Store, partition: Partition) -> None:
    """Make the partition incomplete: readers no longer see it."""
    store.delete(manifest_path(partition))


def load_path(store: Store, path: str) -> Manifest | None:
    """The manifest at a path; None where there is none, or no longer."""
    try:
        return _read(store, path)
    except FileNotFoundError:
        return None
    except DamagedManifestError:
        if store.local:
            raise
    # An object that is replaced between the two requests of a read comes back cut to its old size.
    try:
        return _read(store, path)
    except FileNotFoundError:
        return None


def _read(store: Store, path: str) -> Manifest:
    try:
        data = store.read(path).to_pybytes()
        body = json.loads(data)
        version = body["schema_version"]
        if version not in READABLE or type(version) is not int:
            raise OtherVersionError(
                f"{store.describe(path)} has schema version {version}, this program reads "
                f"{READABLE[0]} to {SCHEMA_VERSION}: choose another --cache, or extract again"
            )
        found = _parsed(body, path)
        if found.to_json().encode() != data:
            raise ValueError("it is not as it was written")
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedManifestError(
            f"{store.describe(path)} is damaged ({type(error).__name__}): delete it and run "
            "the command that made it again"
        ) from error


def _parsed(body: dict[str, Any], path: str) -> Manifest:
    """A manifest from its JSON; ValueError, KeyError or TypeError where it cannot be right."""
    if body.pop("sha256", None) != digest(body):
        raise ValueError("it does not have its own SHA-256")
    partition = Partition.parse(path[len(MANIFESTS) + 1 : -len(".json")])
    if (body["table"], body["keys"]) != (partition.table, partition.keys):
        raise ValueError(f"it lies at the place of {partition}")
    parts = tuple(part_from(part) for part in body["parts"])
    if [part_index(part.name) for part in parts] != list(range(len(parts))):
        raise ValueError("its parts are not numbered from 0")
    return Manifest(
        partition,
        parts,
        dict(body["identity"]),
        dict(body["provenance"]),
        body["schema_version"],
    )
