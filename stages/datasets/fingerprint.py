"""The fingerprint of a split's images."""

from __future__ import annotations

from cache.fingerprint import fingerprint_of
from stages.datasets.source import Source


def fingerprint(source: Source) -> str:
    """SHA-256 over ids, labels and keys, in hexadecimal: see cache.fingerprint."""
    return fingerprint_of(source.labels, source.keys)
