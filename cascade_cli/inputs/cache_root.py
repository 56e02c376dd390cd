"""The cache that a command works in: whether it is there, whether to make it, what it has."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import typer

from cache import DEFAULT_ROOT, InputError, Manifest, Store, find
from stages.notices import unfinished_copy, visible


def cache_exists(store: Store) -> bool:
    """Whether a cache was begun: its folder, or where it has none something in it."""
    if store.local:
        return os.path.exists(store.base)
    return any(store.files(folder) for folder in ("_manifests", ".tmp/receipts"))


def confirm_new_cache(store: Store) -> None:
    """A cache that was named and is not there may be a slip of the pen: ask before making it."""
    if store.root == DEFAULT_ROOT or cache_exists(store):
        return
    fill = f"check --cache, or fill it by `cascade extract --cache {shlex.quote(store.root)}`"
    confirm(f"there is no cache at {store.root}: make it and run every model first?", fill)


def confirm(question: str, instead: str) -> None:
    """Ask; InputError, with what to do instead, where nobody is there, Abort where the answer is
    no."""
    if not sys.stdin.isatty():
        raise InputError(f"{question} Nobody is there to ask: {instead}")
    print(f"{visible(question)} [y/N]: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Abort


def existing_cache(root: str | None) -> Store:
    """The cache, which must be there."""
    store = Store(root)
    if store.local and not cache_exists(store):
        raise InputError(f"there is no cache at {store.root}: check --cache")
    return store


def merge_source(root: str, target: Store) -> Store:
    """Another cache, to copy from; InputError where it is none."""
    source = Store(root)
    if source.base == target.base and source.local == target.local:
        raise InputError(f"{root} is the cache to merge into: give another SOURCE or --cache")
    if not any(source.files(folder) for folder in ("_manifests", ".tmp/receipts")):
        raise InputError(f"{root} holds no cache: check its name")
    unfinished_copy(source)
    return source


def manifests_by(
    store: Store, table: str, keys: tuple[str, ...]
) -> dict[tuple[Any, ...], list[Manifest]]:
    """What is in the cache, by these keys of a table's partitions."""
    there: dict[tuple[Any, ...], list[Manifest]] = {}
    for manifest in find(store, table):
        found = tuple(manifest.partition.keys[key] for key in keys)
        there.setdefault(found, []).append(manifest)
    return there


def cached_splits(manifests: Sequence[Manifest]) -> list[str]:
    """The splits that partitions are of, each once."""
    return list(dict.fromkeys(manifest.partition.keys["split"] for manifest in manifests))
