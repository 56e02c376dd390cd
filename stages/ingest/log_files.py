"""Files of JSON Lines, plain or gzip, whole or cut: their lines, up to what cannot be read."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cache import InputError, open_regular
from stages.ingest.arrays import unreadable

_NAME = re.compile(r".+\.jsonl([.-]\d+)*(\.gz)?")  # also as logrotate calls what it has rotated
_GZIP, _BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
_PIECE, _LONGEST = 1 << 24, 1 << 25  # bytes that are parsed at once, and of a line
_PACKED = 1 << 18


class DamagedError(ValueError):
    """Where it is raised a file cannot be read on; says why, and in which `line` of those that were
    given last."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.line = line


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
    held, damage = b"", None
    try:
        for chunk in _chunks(path):
            end = chunk.rfind(b"\n") + 1
            if end:
                yield held + chunk[:end]
            held = chunk[end:] if end else held + chunk
            if len(held) > _LONGEST:
                held = b""
                raise DamagedError(f"a line is longer than {_LONGEST >> 20} MiB")
    except DamagedError as error:
        damage = error
    if held:
        yield held
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
            unpack = zlib.decompressobj(wbits=31) if unpack.eof else unpack
            before = unpack.copy()
            try:
                yield unpack.decompress(left, _PIECE)
            except zlib.error as error:
                yield _before_damage(before, left)
                raise DamagedError("its gzip is damaged") from error
            left = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
    if not unpack.eof:
        yield unpack.flush()
        raise DamagedError("its gzip is cut")


def _before_damage(unpack: zlib._Decompress, packed: bytes) -> bytes:
    """Byte by byte, as one call for all gives nothing."""
    out = []
    with suppress(zlib.error):
        for k in range(len(packed)):
            out.append(unpack.decompress(packed[k : k + 1]))
    return b"".join(out)
