"""Layouts and datasets of other installed packages: whatever fails in one names the package.

What they give is checked here, before anything is made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cache import InputError
from stages.datasets.layout import Found, Layout, Request
from stages.datasets.source import Source, checked_labels
from stages.notices import tell_once
from stages.plugins import Added

HINT = "correct the files, or update or uninstall it"


def guarded(one: Added) -> Layout:
    """A package's layout; one that fails while it looks sees nothing, which is told."""
    layout: Layout = one.item
    what = f"its layout {layout.name}"

    def find(data: Path, dataset: str) -> Found:
        try:
            with one.blamed(what, hint=HINT):
                found = layout.find(data, dataset)
                return _checked_found(one, what, found)
        except InputError as error:
            tell_once(str(error))
            return {}

    def open_split(request: Request) -> Source:
        with one.blamed(f"{what} with {request.dataset}/{request.split}", hint=HINT):
            source, names = layout.open(request), (request.dataset, request.split)
            return checked(one, what, source, *names, unlabelled=request.unlabelled)

    return replace(layout, find=find, open=open_split)


def _checked_found(one: Added, what: str, found: Any) -> Found:
    fits = isinstance(found, Mapping) and all(
        isinstance(split, str) and isinstance(files, tuple) and _are_paths(files)
        for split, files in found.items()
    )
    if not fits:
        raise one.fault(f"{what} finds {found!r:.60}, not the files of each split", HINT)
    return found  # type: ignore[no-any-return]


def _are_paths(files: tuple[Any, ...]) -> bool:
    return bool(files) and all(isinstance(file, Path) for file in files)


def checked(
    one: Added, what: str, source: Any, dataset: str, split: str, unlabelled: bool = False
) -> AddedSource:
    """A package's source, known to hold what a Source holds, labels aside where it may be
    `unlabelled`; InputError, naming it, else."""
    if not isinstance(source, Source):
        raise one.fault(f"{what} gives a {type(source).__name__}, not a Source", HINT)
    odd = next((key for key in source.keys if not isinstance(key, str)), None)
    if odd is not None:
        raise one.fault(f"{what} gives the key {odd!r:.60}, not a str", HINT)
    classes = None if source.class_names is None else len(source.class_names)
    labels, where = source.labels, f"{dataset}/{split} of package {one.package}"
    labels = labels if unlabelled else checked_labels(labels, classes, where)
    told = {"dataset": dataset, "split": split, "layout": str(source.layout)}
    return source.seen_as(AddedSource, **told, labels=labels, whole=source, one=one, what=what)


@dataclass(frozen=True, eq=False, kw_only=True)
class AddedSource(Source):
    """The source `whole` that `what` of the package `one` gave; each of its pictures is checked."""

    whole: Source
    one: Added
    what: str

    def read(self, i: int) -> np.ndarray:
        with self._blamed(i):
            picture: Any = self.whole.read(i)
        shape = getattr(picture, "shape", None)
        kind = getattr(picture, "dtype", type(picture).__name__)
        fits = isinstance(picture, np.ndarray) and kind == np.uint8 and picture.size
        if not fits or len(picture.shape) < 2 or picture.shape[2:] not in ((), (3,)):
            found = f"{kind} {shape or ''}".strip()
            raise self.one.fault(
                f"{self.what} gives {found} as picture {i}, not uint8 [H, W(, 3)]", HINT
            )
        return picture

    def stored(self, i: int) -> bytes:
        with self._blamed(i):
            return memoryview(self.whole.stored(i)).tobytes()

    def _blamed(self, i: int) -> AbstractContextManager[None]:
        return self.one.blamed(f"{self.what} with picture {i} ({self.keys[i]})", hint=HINT)
