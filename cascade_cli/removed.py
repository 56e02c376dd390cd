"""Commands of earlier releases: each names, for one release, what took its place."""

from __future__ import annotations

from collections.abc import Sequence

from cache import InputError

REMOVED = {
    "reproduce": "is now an example: run make reproduce, or python -m examples.kinnas2024 …",
}


def refuse(words: Sequence[str]) -> None:
    """InputError for a command line of a removed command, whatever options follow."""
    name = words[0] if words else ""
    if name in REMOVED:
        raise InputError(f"{name} {REMOVED[name]}")
