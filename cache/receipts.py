"""A receipt stands for a finished part until the partition's manifest does.

It is a JSON file under `.tmp/receipts/`, at the part's own path: the part's name, rows, size and
SHA-256, `made` (a digest of what parts must have in common to stand in one partition), and `token`
(a digest of all that, so that a changed receipt counts for nothing).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from cache.manifest import Part, part_from
from cache.partition import Partition
from cache.provenance import digest
from cache.storage import Store

RECEIPTS = ".tmp/receipts"


@dataclass(frozen=True)
class Receipt:
    """`made` is of identity, made_with and schema: see PartitionWriter."""

    part: Part
    made: str


def receipts_folder(partition: Partition) -> str:
    return f"{RECEIPTS}/{partition.path}"


def receipt_path(partition: Partition, part: Part) -> str:
    return f"{receipts_folder(partition)}/{part.name}.json"


def part_place(path: str) -> Partition | None:
    """The partition of the part, or of the receipt of one, at a path; None for any other path."""
    return Partition.at(path.removeprefix(f"{RECEIPTS}/").rpartition("/")[0])


def write_receipt(store: Store, partition: Partition, receipt: Receipt) -> None:
    body = {**asdict(receipt.part), "made": receipt.made}
    text = json.dumps({**body, "token": digest(body)})
    store.write(receipt_path(partition, receipt.part), text.encode())


def read_receipt(store: Store, path: str) -> Receipt | None:
    """None where it is damaged, or gone because another process has finished the partition."""
    try:
        body: dict[str, Any] = json.loads(store.read(path).to_pybytes())
        if body.pop("token") != digest(body):
            return None
        made = str(body.pop("made"))
        return Receipt(part_from(body), made)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_receipts(store: Store, partition: Partition) -> list[Receipt]:
    """The sound receipts of an unfinished partition, by part."""
    paths = store.files(receipts_folder(partition))
    found = store.each(lambda path: read_receipt(store, path), paths)
    return [receipt for receipt in found if receipt is not None]
