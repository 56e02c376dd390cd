"""Files outside of a cache: read within bounds, written whole or not at all.

Only regular files: a FIFO makes a reader wait for ever, `/dev/zero` never ends, and a device that
is renamed over is gone.
"""

from __future__ import annotations

import glob
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cache.storage.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NOT_WAITING = getattr(os, "O_NONBLOCK", 0)  # Windows has none, and no FIFOs among its files
TEXT_BYTES = 1 << 20  # a configuration, a policy, a list of names
_KINDS = {
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
    stat.S_ISDIR: "a folder",
}


def kind_of(mode: int) -> str:
    """What a file that is not regular is called."""
    return next((name for test, name in _KINDS.items() if test(mode)), "not a regular file")


def _opened_without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | _NOT_WAITING)


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A regular file, or a link to one, for reading. OSError for whatever else is there."""
    # Opening a FIFO waits for a writer unless told not to; a regular file takes no notice.
    with open(path, "rb", opener=_opened_without_waiting) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(f"it is {kind_of(mode)}, not a regular file")
        yield file


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """All of a regular file of at most `limit` bytes. InputError, in one line, for any other."""
    try:
        with open_regular(path) as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {os.fspath(path)}: {reason}; check the path") from error
    if len(data) > limit:
        most = f"{limit >> 20} MiB" if limit >> 20 else f"{limit >> 10} KiB"
        raise InputError(f"cannot read {os.fspath(path)}: it is larger than {most}; check the path")
    return data


def read_text(path: str | os.PathLike[str], limit: int = TEXT_BYTES) -> str:
    """As `read_bytes`, decoded from UTF-8, with or without a byte order mark."""
    data = read_bytes(path, limit)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{os.fspath(path)}, line {line}: not text in UTF-8: save it as UTF-8"
        ) from error


def write_whole(writers: Mapping[Path, Callable[[BinaryIO], object]]) -> None:
    """Write each file by its writer. OSError where one cannot be written; then all that stood there
    before still stands. What is there and not a regular file is never replaced."""
    made: dict[Path, Path] = {}
    with ExitStack() as opened:
        try:
            for path, write in writers.items():
                place = path.resolve()
                check_replaceable(place)
                _sweep(place)
                file = opened.enter_context(_temporary(place))
                made[Path(file.name)] = place
                write(file)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:  # Windows renames no open file
                    file.close()
            for temporary, place in made.items():
                check_replaceable(place)
                os.replace(temporary, place)
        finally:
            for temporary in made:
                temporary.unlink(missing_ok=True)


def _temporary(place: Path) -> BinaryIO:
    """A new file beside `place`, locked while it is open: its writer is alive."""
    while True:
        path = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
        file = open(path, "xb")  # noqa: SIM115, the caller closes it
        if fcntl is None:
            return file
        with suppress(OSError):  # a file system without locks, where nothing is swept
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():  # else another process swept it between the two
            return file
        file.close()


def _sweep(place: Path) -> None:
    """Remove what processes that were killed had begun to write for `place`."""
    if fcntl is None:
        return
    for path in place.parent.glob(f".{glob.escape(place.name)}.{'[0-9a-f]' * 8}"):
        with suppress(OSError), open(path, "r+b", opener=_opened_without_waiting) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def check_replaceable(path: Path) -> None:
    """OSError where something other than a regular file stands, itself or behind a link."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(f"{kind_of(mode)} is there, and only a regular file is replaced")
