"""Files of JSON Lines, plain or gzip, whole or cut: their lines, up to what cannot be read."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cache import InputError, open_regular
from stages.ingest.arrays import unreadable

_NAME = re.compile(r".+\.jsonl([.-]\d+)*(\.gz)?")  # also as logrotate calls what it has rotated
_GZIP, _BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
_PIECE, _LONGEST = 1 << 24, 1 << 25  # bytes that are parsed at once, and of a line
_PACKED = 1 << 16


class DamagedError(ValueError):
    """Where it is raised a file cannot be read on; says why."""


def log_files(path: str) -> list[str]:
    """The file itself, or those of a folder that are called as logs are, by their names."""
    if not Path(path).is_dir():
        return [path]
    found = sorted(str(each) for each in Path(path).iterdir() if _NAME.fullmatch(each.name))
    if not found:
        raise InputError(f"{path} holds no *.jsonl, *.jsonl.1 or *.jsonl.gz: give a log's folder")
    return found


def pieces(path: str) -> Iterator[bytes]:
    """Whole lines, some MiB at a time, then what is left of a last one.

    DamagedError after the last that can be read; InputError for what is no file.
    """
    rest, damage = bytearray(), None
    try:
        for chunk in _chunks(path):
            rest += chunk
            end = rest.rfind(b"\n") + 1 if len(rest) >= _PIECE else 0
            if end:
                yield bytes(rest[:end])
                del rest[:end]
            if len(rest) > _LONGEST:
                rest.clear()
                raise DamagedError(f"a line is longer than {_LONGEST >> 20} MiB")
    except DamagedError as error:
        damage = error
    if rest:
        yield bytes(rest)
    if damage is not None:
        raise damage


def _chunks(path: str) -> Iterator[bytes]:
    with unreadable(path), open_regular(path):
        pass
    with open(path, "rb") as file:
        try:
            begins = file.read(len(_BOM))
            file.seek(len(_BOM) if begins == _BOM else 0)
            packed = begins.startswith(_GZIP)
            yield from _unpacked(file) if packed else iter(partial(file.read, _PIECE), b"")
        except OSError as error:
            raise DamagedError(f"it cannot be read, {error.strerror}") from error


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """What a gzip file of any number of members holds."""
    unpack = zlib.decompressobj(wbits=31)
    for packed in iter(partial(file.read, _PACKED), b""):
        left = packed
        while left:
            if unpack.eof:
                unpack = zlib.decompressobj(wbits=31)
            before = unpack.copy()
            try:
                yield unpack.decompress(left)
            except zlib.error as error:
                yield from _byte_by_byte(before, left)
                raise DamagedError("its gzip is damaged") from error
            left = unpack.unused_data
    if not unpack.eof:
        raise DamagedError("its gzip is cut")


def _byte_by_byte(unpack: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
    """What comes before the damage, of which one call for all gives nothing."""
    for k in range(len(packed)):
        try:
            yield unpack.decompress(packed[k : k + 1])
        except zlib.error:
            return
