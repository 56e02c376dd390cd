"""What made a partition: versions, time, and the digests that tell one input from another."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any

Provenance = dict[str, Any]
"""JSON of a manifest: what made rows, or what must agree for them to be mixed."""

_PACKAGES = ("cascade-cli", "torch", "torchvision", "numpy", "pyarrow", "pillow")


def versions() -> dict[str, str | None]:
    """Installed versions, None where a package is absent; imports none of them."""
    return versions_of(*_PACKAGES)


def versions_of(*packages: str) -> dict[str, str | None]:
    """As `versions`, of these packages."""
    return {package: _version(package) for package in packages}


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def digest(value: Any) -> str:
    """SHA-256 of a JSON-ready value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """`field was old, now new` for each field that differs, of fields within a field those, in
    words short enough for one line.

    >>> differences({"crop": {"side": 8, "at": 0}}, {"crop": {"side": 9, "at": 0}})
    ['crop.side was 8, now 9']
    """
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += [f"{key}.{each}" for each in differences(before, after)]
        elif before != after:
            found.append(f"{key} was {_short(before)}, now {_short(after)}")
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:12] + "…"
