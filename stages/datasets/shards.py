"""Which files under a data folder make up which split, for layouts of a few large files.

A split's files are numbered in their names; a data folder that is such a file itself is its split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cache import InputError
from stages.datasets.layout import Found, visible


def find_shards(
    data: Path,
    numbered: re.Pattern[str],
    suffix: str,
    places: Iterable[str],
    others: Callable[[Path], Found] = lambda place: {},
) -> Found:
    """The files of each split; the first of the places below `data` that has a split wins.

    `numbered` finds the split in a file's name, which is else the name without its ending; `others`
    gives what else lies in a place, which goes after its files.
    """
    if data.is_file():
        return _by_split([data], numbered) if data.suffix == suffix else {}
    found: Found = {}
    for place in (data / name for name in places):
        if place.is_dir():
            found = {**others(place), **_by_split(files_in(place, suffix), numbered), **found}
    return found


def files_in(folder: Path, suffix: str) -> list[Path]:
    """Those of this ending, by name, without the hidden ones."""
    files = (path for path in folder.iterdir() if path.suffix == suffix)
    return sorted(path for path in files if visible(path.name) and path.is_file())


def _by_split(files: Iterable[Path], numbered: re.Pattern[str]) -> Found:
    found: dict[str, tuple[Path, ...]] = {}
    for path in files:
        match = numbered.fullmatch(path.name)
        split = match["split"] if match else path.stem
        found[split] = (*found.get(split, ()), path)
    return found


def mixed(files: Sequence[Path], noun: str) -> InputError:
    return InputError(
        f"{files[0].parent}: {files[0].name} and {files[-1].name} are different sets of {noun} for "
        "one split; keep one set"
    )


def missing(number: int, those: str, files: Sequence[Path]) -> InputError:
    return InputError(
        f"{files[0].parent}: shard {number} {those} {files[0].name} is missing; download it again"
    )
