"""What a cache holds, as rows and lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cache import KEYS, MARKER, Manifest, Partition, describe_marker
from cache.upkeep import Going, Merged

PARTITION_COLUMNS = {
    "table": "table",
    "keys": "keys",
    "rows": "rows:,d",
    "parts": "parts:,d",
    "size_bytes": "bytes:,d",
}


def print_report(found: dict[str, Any]) -> None:
    """What `cache verify` found, and what mends it."""
    for each in found["damaged"]:
        print(f"{each['path']} {each['what']}: {each['remedy']}")
    for path in found["strays"]:
        print(f"{path}: no manifest names it (`cascade cache gc` removes it)")
    for path in found["unfinished"]:
        print(f"{path}: unfinished (the command that makes it goes on from its parts)")
    if found["unfinished_copy"] is not None:
        what = describe_marker(found["unfinished_copy"])
        print(f"{MARKER}: an unfinished copy{what}: run its export again to finish it")
    print(
        f"{found['cache']}: {found['partitions']} partitions, {found['parts']} parts, "
        f"{found['size_bytes']:,d} bytes read; {len(found['damaged']) or 'none'} damaged"
    )


def last_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How each partition stands after the last source."""
    return list({(row["table"], key_text(row)): row for row in rows}.values())


def partition_row(partition: Partition, state: str) -> dict[str, Any]:
    """A partition of which nothing but its state is known."""
    empty = {"rows": None, "parts": None, "size_bytes": None, "made": None}
    return {"table": partition.table, **partition.keys, **empty, "state": state}


def complete_row(manifest: Manifest) -> dict[str, Any]:
    """A partition that has its manifest."""
    made = manifest.provenance.get("made")
    return partition_row(manifest.partition, "complete") | sums(manifest.parts) | {"made": made}


def merged_row(outcome: Merged) -> dict[str, Any]:
    """What a merge did with a partition."""
    partition = outcome.partition
    return {
        "table": partition.table,
        **partition.keys,
        "state": outcome.done,
        "parts": outcome.parts,
        "size_bytes": outcome.size_bytes,
        "of": outcome.count,
        "missing": outcome.missing,
    }


def sums(parts: Sequence[Any]) -> dict[str, int]:
    """Rows, parts and bytes of parts."""
    rows, size = sum(part.rows for part in parts), sum(part.size_bytes for part in parts)
    return {"rows": rows, "parts": len(parts), "size_bytes": size}


def removed_row(going: Going) -> dict[str, Any]:
    """A partition that goes, or went."""
    named = {"table": going.partition.table, **going.partition.keys}
    parts = sum(path.endswith(".parquet") for path in going.files)
    return named | {"rows": going.rows, "parts": parts, "size_bytes": going.size_bytes}


def key_text(row: dict[str, Any]) -> str:
    """A row's keys, as one word each."""
    return " ".join(row[key] for key in KEYS[row["table"]])


def counted(things: Sequence[object], noun: str) -> str:
    """How many, with the noun."""
    return f"{len(things)} {noun}" + ("" if len(things) == 1 else "s")
