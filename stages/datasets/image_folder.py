"""A folder per split, in it a folder per class, in it images at any depth.

A split's folder may lie in another of the same name (seg_train/seg_train), as some archives unpack.

Keys are SPLIT/CLASS/FILE. The order is that of the sorted class folders, then of the sorted paths
below each, by code point: the same on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache import UNLABELLED, InputError, open_regular
from stages.datasets.decode import SUFFIXES, EncodedSource, unreadable_image
from stages.datasets.known import spec
from stages.datasets.layout import Found, Layout, Request, reason, visible

MAX_BYTES = 1 << 30  # the largest picture that is decoded has 89 million pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class FolderSource(EncodedSource):
    """root: the folder that keys are relative to."""

    root: Path

    def where(self, i: int) -> str:
        return f"{self.root / self.keys[i]} (sample {i})"

    def stored(self, i: int) -> bytes:
        try:
            with open_regular(self.root / self.keys[i]) as file:
                if os.fstat(file.fileno()).st_size > MAX_BYTES:
                    found = f"it is larger than {MAX_BYTES >> 20} MiB"
                    raise unreadable_image(self.where(i), found)
                return file.read()
        except OSError as error:
            raise self._unread(i, error) from error

    def _unread(self, i: int, error: OSError) -> InputError:
        """One file that is gone, locked or no file is that image's fault, all else the disk's."""
        path = self.root / self.keys[i]
        its = isinstance(error, PermissionError) or not path.is_file()
        if its and self.root.is_dir():
            return unreadable_image(self.where(i), reason(error))
        return InputError(f"{self.where(i)}: {reason(error)}; check the disk")


def find(data: Path, dataset: str) -> Found:
    """Each folder in `data` that holds a class folder with an image; or `data`, if it does."""
    if not data.is_dir():
        return {}
    nested = ((folder.name, folder / folder.name) for folder in _folders(data))
    inner = {name: (folder,) for name, folder in nested if folder.is_dir() and _is_split(folder)}
    splits = {folder.name: (folder,) for folder in _folders(data) if _is_split(folder)}
    if not splits and not inner and _is_split(data) and _may_hold(data, dataset):
        return {data.resolve().name: (data.resolve(),)}
    return {**splits, **inner}


def unlabelled(data: Path) -> Path | None:
    """The first folder, `data` or one in it, that holds images beside each other, unsorted."""
    if not data.is_dir():
        return None
    folders = [data, *_folders(data)]
    return next((f for f in folders if any(_is_image(entry.name) for entry in _files(f))), None)


def open_folder(request: Request) -> FolderSource:
    (folder,) = request.found[request.split]
    names = _folder_names(folder, request)
    index = {name: label for label, name in enumerate(names)}
    keys: list[str] = []
    labels: list[int] = []
    for class_folder in _folders(folder):
        files = [f"{folder.name}/{class_folder.name}/{file}" for file in _images(class_folder)]
        keys += files
        labels += [index[class_folder.name]] * len(files)
    _check_utf8(folder, keys)
    return FolderSource(
        dataset=request.dataset,
        split=request.split,
        layout=LAYOUT.name,
        keys=keys,
        labels=np.array(labels, np.int32),
        class_names=request.spec.class_names if request.spec else names,
        decoder=request.decoder,
        counts_folders=request.spec is None,
        root=folder.parent,
    )


def open_unlabelled(request: Request, data: Path) -> FolderSource | None:
    """The images, in any folders, of the folder in `data` that is called as the split; else those
    that lie in `data` itself. None where there are none.

    Keys are SPLIT/FILE or FILE, in the order of the sorted paths.
    """
    folder = data / request.split
    below = _images(folder) if folder.is_dir() else []
    keys = [f"{folder.name}/{file}" for file in below]
    keys = keys or sorted(entry.name for entry in _files(data) if _is_image(entry.name))
    if not keys:
        return None
    _check_utf8(data, keys)
    return FolderSource(
        dataset=request.dataset,
        split=request.split,
        layout=LAYOUT.name,
        keys=keys,
        labels=np.full(len(keys), UNLABELLED, np.int32),
        class_names=request.spec.class_names if request.spec else None,
        decoder=request.decoder,
        root=data,
    )


def _check_utf8(folder: Path, keys: list[str]) -> None:
    try:
        "".join(keys).encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(folder)!a}: a file name in it is not UTF-8; rename it") from None


def _folder_names(folder: Path, request: Request) -> tuple[str, ...]:
    """The names of the class folders in the order of their labels."""
    here = {entry.name for entry in _folders(folder)}
    if request.spec is None:
        return tuple(sorted(here.union(*_sibling_classes(here, request.found))))
    names = request.spec.class_folders or request.spec.class_names
    unknown = sorted(here.difference(names))
    if unknown:
        listed = ", ".join(names if len(names) <= 20 else (*names[:3], "…", names[-1]))
        raise InputError(
            f"{folder / unknown[0]}: no class of {request.dataset}, whose class folders are "
            f"{listed}; rename the folder or the dataset"
        )
    return names


def _sibling_classes(here: set[str], found: Found) -> Iterator[set[str]]:
    """Classes of the other splits, so that one missing in this split does not shift the labels.

    A folder that has no class in common is taken for something else.
    """
    for (folder,) in found.values():
        names = {entry.name for entry in _folders(folder)}
        if not names.isdisjoint(here):
            yield names


def _is_split(folder: Path) -> bool:
    """Whether a folder in it holds an image; one of the same name is no class but the split."""
    classes = (entry for entry in _folders(folder) if entry.name != folder.name)
    return any(_is_image(entry.name) for one in classes for entry in _files(one))


def _may_hold(folder: Path, dataset: str) -> bool:
    """Whether it has a class of the dataset, whose classes may be unknown."""
    row = spec(dataset)
    names = (*row.class_folders, *row.class_names) if row else ()
    return row is None or any(entry.name in names for entry in _folders(folder))


def _folders(parent: Path) -> list[Path]:
    with os.scandir(parent) as entries:
        names = sorted(e.name for e in entries if visible(e.name) and e.is_dir())
    return [parent / name for name in names]


def _files(parent: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(parent) as entries:
        yield from (entry for entry in entries if entry.is_file())


def _images(class_folder: Path) -> list[str]:
    """Paths relative to the class folder, with forward slashes."""
    paths: list[str] = []
    for parent, folders, files in os.walk(class_folder, onerror=_fail):
        folders[:] = filter(visible, folders)
        below = Path(parent).relative_to(class_folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        paths += [prefix + file for file in files if _is_image(file)]
    return sorted(paths)


def _fail(error: OSError) -> None:
    raise error


def _is_image(name: str) -> bool:
    return visible(name) and os.path.splitext(name)[1].lower() in SUFFIXES


LAYOUT = Layout(
    name="image-folder", expects="SPLIT/CLASS/IMAGE.png (jpg, …)", find=find, open=open_folder
)
