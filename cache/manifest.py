"""A partition is complete when its manifest exists; readers ignore what no manifest names."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from cache.errors import InputError
from cache.partition import Partition, path_segments
from cache.provenance import digest
from cache.schema import SCHEMA_VERSION
from cache.store import Store

FOLDER = "_manifests"


@dataclass(frozen=True)
class Part:
    """One finished Parquet file of a partition."""

    name: str
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """`identity` is what must agree for rows to be mixed or reused; `provenance` is the rest."""

    partition: Partition
    parts: tuple[Part, ...]
    identity: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def fingerprint(self) -> str | None:
        """Of the dataset split that the rows are about."""
        return self.identity.get("dataset_fingerprint")

    @property
    def content(self) -> str:
        """A digest of the rows, through the parts' own."""
        return digest([part.sha256 for part in self.parts])

    def to_json(self) -> str:
        body = {
            "schema_version": SCHEMA_VERSION,
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
    return f"{FOLDER}/{partition.path}.json"


def load(store: Store, partition: Partition) -> Manifest | None:
    """The partition's manifest, or None where the partition is not complete."""
    path = manifest_path(partition)
    return _load_path(store, path) if store.exists(path) else None


def find(store: Store, table: str, *leading: str) -> list[Manifest]:
    """All complete partitions of a table whose first keys have these values, sorted by path."""
    folder = "/".join([FOLDER, table, *path_segments(table, leading)])
    paths = [path for path in store.files(folder) if path.endswith(".json")]
    return [_load_path(store, path) for path in paths]


def publish(store: Store, manifest: Manifest) -> None:
    store.write(manifest_path(manifest.partition), manifest.to_json().encode())


def withdraw(store: Store, partition: Partition) -> None:
    """Make the partition incomplete: readers no longer see it."""
    store.delete(manifest_path(partition))


def _load_path(store: Store, path: str) -> Manifest:
    try:
        body = json.loads(store.read(path).to_pybytes())
        version = body["schema_version"]
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{store.describe(path)} has schema version {version}, this program reads "
                f"{SCHEMA_VERSION}: choose another --cache, or extract again"
            )
        if body.pop("sha256", None) != digest(body):
            raise ValueError("it does not have its own SHA-256")
        partition = Partition.of(body["table"], **body["keys"])
        if manifest_path(partition) != path:
            raise ValueError(f"it is about {partition}")
        parts = tuple(Part(**part) for part in body["parts"])
        return Manifest(partition, parts, dict(body["identity"]), dict(body["provenance"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{store.describe(path)} is damaged ({type(error).__name__}): delete it and run "
            "the command that made it again"
        ) from error
