"""Which Parquet files under a data folder make up which split.

Looked for are SPLIT.parquet, SPLIT-00000-of-00002.parquet and SPLIT/*.parquet, in the data folder
or in one of its folders `data`, `plain_text` and `default`; or the data path is such a file itself.
"""

from __future__ import annotations

import re
from pathlib import Path

from cache import InputError
from stages.datasets.layout import Found, visible

PLACES = ("", "data", "plain_text", "default")
SHARD = re.compile(r"(?P<split>.+?)(?:-(?P<index>\d+)-of-(?P<count>\d+))?\.parquet")
NUMBERED = re.compile(r"(?:part|data|shard)?[-_]?\d")


def find(data: Path, dataset: str) -> Found:
    """The Parquet files of each split; the first place that has a split wins."""
    if data.is_file():
        return _by_split([data]) if data.suffix == ".parquet" else {}
    found: dict[str, tuple[Path, ...]] = {}
    for place in (data / name for name in PLACES):
        if place.is_dir():
            found = {**_split_folders(place), **_by_split(_parquet_files(place)), **found}
    return found


def complete(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files of one split in the order of their rows; InputError where a shard is missing."""
    matches = [SHARD.fullmatch(path.name) for path in files]
    shards = [match for match in matches if match and match["count"]]
    if not shards:
        return files
    counts = {match["count"] for match in shards}
    if len(shards) < len(files) or len(counts) > 1:
        raise InputError(
            f"{files[0].parent}: {files[0].name} and {files[-1].name} are different sets of "
            "files for one split; keep one set"
        )
    missing = set(range(int(counts.pop()))).difference(int(match["index"]) for match in shards)
    if missing:
        raise InputError(
            f"{files[0].parent}: shard {min(missing)} of {files[0].name} is missing; "
            + "download it again"
        )
    return files


def _parquet_files(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.suffix == ".parquet")
    return sorted(path for path in files if visible(path.name) and path.is_file())


def _by_split(files: list[Path]) -> dict[str, tuple[Path, ...]]:
    found: dict[str, tuple[Path, ...]] = {}
    for path in files:
        match = SHARD.fullmatch(path.name)
        if match:
            found[match["split"]] = (*found.get(match["split"], ()), path)
    return found


def _split_folders(place: Path) -> dict[str, tuple[Path, ...]]:
    """Folders whose files carry the folder's name, or no name but a number."""
    found = {}
    for folder in sorted(place.iterdir()):
        if folder.name in PLACES or not visible(folder.name) or not folder.is_dir():
            continue
        files = _parquet_files(folder)
        named = (f.name.startswith(folder.name) or NUMBERED.match(f.name) for f in files)
        if files and all(named):
            found[folder.name] = tuple(files)
    return found
