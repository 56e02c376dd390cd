"""Bytes in, bytes out, atomically: a local directory or any URI that pyarrow's file systems open.

Locally a file is written under `.tmp/`, flushed to disk and renamed. An object store has no rename;
there one upload publishes the whole object or nothing.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from cache.storage.errors import InputError
from cache.storage.root import open_root as _open_root, reason

_REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again: it resumes",
    errno.EDQUOT: "free some of your quota and run the same command again: it resumes",
    errno.EACCES: "check its permissions or choose another with --cache",
    errno.EPERM: "check its permissions or choose another with --cache",
    errno.EROFS: "choose another with --cache",
    errno.ENOTDIR: "a file is in the way: choose another with --cache",
    errno.EEXIST: "a file is in the way: choose another with --cache",
    errno.ENAMETOOLONG: "choose shorter names",
}
DEFAULT_ROOT = "artifacts"
_REQUESTS = 16  # at a time, to an object store

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class FileEntry:
    """A file of the cache; `changed` in seconds of the storage's own clock, None if it has none."""

    path: str
    size_bytes: int
    changed: float | None


def default_root() -> str:
    """Where the cache is when none is named."""
    return os.environ.get("CASCADE_CACHE") or DEFAULT_ROOT


class Store:
    """A cache root. Paths are relative to it, with forward slashes, and never lead out of it."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = os.fspath(default_root() if root is None else root)
        self.local, self._fs, self.base = _open_root(self.root)

    def read(self, path: str) -> pa.Buffer:
        """The whole file; FileNotFoundError if there is none."""
        with self.faults("read"):
            try:
                with self._fs.open_input_file(self._full(path)) as file:
                    return file.read_buffer()
            except OSError as error:
                if isinstance(error, FileNotFoundError) or self.local or self.exists(path):
                    raise
                raise FileNotFoundError(path) from error  # it went between two requests

    def write(self, path: str, data: pa.Buffer | bytes) -> None:
        """Publish the whole file, or nothing."""
        with self.faults("write"):
            if self.local:
                try:
                    self._write_local(path, data)
                except FileNotFoundError:  # another process pruned a folder that was still empty
                    self._write_local(path, data)
            else:
                self._upload(path, data)

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        with self.faults("write"):
            if self._fs.get_file_info(self._full(path)).type != fs.FileType.File:
                return
            try:
                self._fs.delete_file(self._full(path))
            except FileNotFoundError:  # another process was quicker
                return

    def prune(self, folder: str) -> None:
        """Remove the folders that are empty, from this one up to the root."""
        here = Path(self._full(folder))
        for each in (here, *here.parents) if self.local else ():
            if not each.is_relative_to(self.base):
                return
            with suppress(OSError):  # it is not empty, or not there
                each.rmdir()

    def exists(self, path: str) -> bool:
        with self.faults("read"):
            return self._fs.get_file_info(self._full(path)).type == fs.FileType.File

    def files(self, folder: str) -> list[str]:
        """Every file below `folder`, sorted, relative to the root."""
        return [entry.path for entry in self.entries(folder)]

    def entries(self, folder: str) -> list[FileEntry]:
        """Every file below `folder` with its size and age, sorted by path; one request."""
        selector = fs.FileSelector(self._full(folder), recursive=True, allow_not_found=True)
        cut = len(self.base) + 1
        with self.faults("read"):
            infos = self._fs.get_file_info(selector)
        found = [
            FileEntry(info.path[cut:], info.size, info.mtime_ns and info.mtime_ns / 1e9)
            for info in infos
            if info.type == fs.FileType.File
        ]
        return sorted(found, key=lambda entry: entry.path)

    def each(self, do: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
        """[do(item) …]; many at a time where each waits for a server."""
        if self.local or len(items) < 2:
            return [do(item) for item in items]
        with ThreadPoolExecutor(min(_REQUESTS, len(items))) as pool:
            return list(pool.map(do, items))

    def describe(self, path: str = "") -> str:
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def local_path(self, path: str) -> Path:
        """Where a file of a local cache lies."""
        return Path(self._full(path))

    def _full(self, path: str) -> str:
        strange = any(segment in ("", ".", "..") for segment in path.split("/")) and path
        if strange or "\\" in path or "\0" in path:
            raise InputError(f"{path[:80]!r} leads out of the cache {self.root}: not followed")
        return f"{self.base}/{path}"

    def _write_local(self, path: str, data: pa.Buffer | bytes) -> None:
        target = self.local_path(path)
        staging = Path(self.base, ".tmp")
        staging.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = staging / f"{uuid.uuid4().hex}.part"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)

    def _upload(self, path: str, data: pa.Buffer | bytes) -> None:
        try:
            with self._fs.open_output_stream(self._full(path)) as file:
                file.write(data)
        except BaseException:
            self._drop_half(path, pa.py_buffer(data))
            raise

    def _drop_half(self, path: str, data: pa.Buffer) -> None:
        """Closing may have published what had been written; an older object is left alone."""
        try:
            with self._fs.open_input_file(self._full(path)) as file:
                there = file.read_buffer()
        except FileNotFoundError:
            return
        if there.size < data.size and there.equals(data.slice(0, there.size)):
            self._fs.delete_file(self._full(path))

    @contextmanager
    def faults(self, doing: str) -> Iterator[None]:
        """Name what the operating system refused, and what to do about it."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            if doing == "read" and isinstance(error, FileNotFoundError):
                raise
            number = getattr(error, "errno", None) or 0
            what = os.strerror(number) if number else reason(error)
            remedy = _REMEDIES.get(number, "check it or choose another with --cache")
            raise InputError(f"cannot {doing} the cache {self.root}: {what}; {remedy}") from error


def _sync_folder(folder: Path) -> None:
    """A rename is durable only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
