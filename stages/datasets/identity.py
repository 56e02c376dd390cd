"""The fingerprint of a split's images."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from cache import fingerprint_of
from stages.datasets.source import Source

_KNOWN: WeakKeyDictionary[Source, str] = WeakKeyDictionary()


def fingerprint(source: Source) -> str:
    """SHA-256 over ids, labels and keys, in hexadecimal: see cache.fingerprint."""
    if source not in _KNOWN:  # a run asks for each of its models
        _KNOWN[source] = fingerprint_of(source.labels, source.keys)
    return _KNOWN[source]
