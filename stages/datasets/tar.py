"""What lies where in a tar file, without unpacking it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from cache import InputError
from stages.datasets.layout import CLIMBS, NOT_RELATIVE, visible

HINT = "download or write it again, as plain tar"
BLOCK = 512


class Member(NamedTuple):
    """One plain file in a tar: where its content begins and how long it is, in bytes."""

    name: str
    offset: int
    size: int


def members(path: Path, file: BinaryIO) -> Iterator[Member]:
    """The plain files in `file`, which is open on `path`, in order; no folders, no hidden files.

    Raises InputError for a file that is damaged, cut off or compressed, and for a member that is a
    link or a device or whose name would lead out of the folder it is unpacked in.
    """
    try:
        archive: Any  # what it keeps is undocumented
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="replace") as archive:
            end = -1
            while (info := archive.next()) is not None:
                archive.members.clear()  # or it would hold all headers
                if info.size < 0 or archive.offset <= end:
                    raise tarfile.ReadError("a member of negative size")
                end = archive.offset
                if not info.isdir() and visible(PurePosixPath(info.name).name):
                    yield _checked(path, info)
            _check_end(file, archive.offset)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: {str(error) or type(error).__name__}; {HINT}") from error


def read_at(path: Path, offset: int, size: int, where: str) -> bytes:
    """The bytes there; a file of its own per call, so that threads do not share a position."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise InputError(f"{where}: {error.strerror or error}; check the disk") from error
    if len(data) != size:
        raise InputError(f"{where}: the file ends before this image does; {HINT}")
    return data


def _checked(path: Path, info: tarfile.TarInfo) -> Member:
    where = f"{path}: member {info.name!a}"
    if not info.isreg() or info.issparse():
        raise InputError(f"{where} is a link, device or sparse file; write plain files only")
    if CLIMBS.search(info.name) or NOT_RELATIVE.search(info.name):
        raise InputError(f"{where} leads out of its folder; write it with plain names")
    return Member(info.name.removeprefix("./"), info.offset_data, info.size)


def _check_end(file: BinaryIO, offset: int) -> None:
    """An archive ends in blocks of zeros; tarfile takes damage and a cut for the end as well."""
    file.seek(offset)
    if file.read(BLOCK) != bytes(BLOCK):
        raise tarfile.ReadError(f"damaged or cut off at byte {offset}")
