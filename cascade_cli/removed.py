"""Commands of earlier releases: each names, for one release, what took its place."""

from __future__ import annotations

from collections.abc import Sequence

from cache import InputError

REMOVED = {
    "reproduce": "is now an example: run make reproduce, or python -m examples.kinnas2024 …",
    "compare": "is now a part of search: run cascade search --cost-device A,B, or all",
    "margin": "is now a part of simulate and live: run cascade simulate, of two runtimes with "
    "--runtimes A,B",
}


def refuse(words: Sequence[str], where: str = "") -> None:
    """InputError for a command line of a removed command, whatever options follow; `where` it
    stands, if elsewhere."""
    name = words[0] if words else ""
    if name in REMOVED:
        raise InputError(f"{where}{name} {REMOVED[name]}")
