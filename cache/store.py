"""Bytes in, bytes out, atomically: a local directory or any URI that pyarrow's file systems open.

Locally a file is written under `.tmp/`, flushed to disk and renamed. An object store has no rename;
there one upload publishes the whole object or nothing.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from cache.errors import InputError

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


class Store:
    """A cache root. Paths are relative to it, with forward slashes."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = os.fspath(root or os.environ.get("CASCADE_CACHE") or DEFAULT_ROOT)
        self.local, self._fs, self._base = _open_root(self.root)

    def read(self, path: str) -> pa.Buffer:
        """The whole file; FileNotFoundError if there is none."""
        with self._faults("read"), self._fs.open_input_file(self._full(path)) as file:
            return file.read_buffer()

    def write(self, path: str, data: pa.Buffer | bytes) -> None:
        """Publish the whole file, or nothing."""
        with self._faults("write"):
            if self.local:
                self._write_local(path, data)
            else:
                self._upload(path, data)

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        if self.exists(path):
            with self._faults("write"):
                self._fs.delete_file(self._full(path))

    def exists(self, path: str) -> bool:
        with self._faults("read"):
            return self._fs.get_file_info(self._full(path)).type == fs.FileType.File

    def files(self, folder: str) -> list[str]:
        """Every file below `folder`, sorted, relative to the root."""
        selector = fs.FileSelector(self._full(folder), recursive=True, allow_not_found=True)
        cut = len(self._base) + 1
        with self._faults("read"):
            infos = self._fs.get_file_info(selector)
        return sorted(info.path[cut:] for info in infos if info.type == fs.FileType.File)

    def describe(self, path: str = "") -> str:
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def _full(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _write_local(self, path: str, data: pa.Buffer | bytes) -> None:
        target = Path(self._base, path)
        staging = Path(self._base, ".tmp")
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
        except BaseException:  # closing may have published what had been written
            if self.exists(path):
                self._fs.delete_file(self._full(path))
            raise

    @contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        """Name what the operating system refused, and what to do about it."""
        try:
            yield
        except OSError as error:
            if doing == "read" and isinstance(error, FileNotFoundError):
                raise
            reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
            remedy = _REMEDIES.get(error.errno or 0, "check it or choose another with --cache")
            raise InputError(f"cannot {doing} the cache {self.root}: {reason}; {remedy}") from error


def _open_root(root: str) -> tuple[bool, fs.FileSystem, str]:
    if "\0" in root or root.encode(errors="replace").decode() != root:
        raise InputError(f"cannot open the cache {root!r}: it is no path in UTF-8; give another")
    if "://" not in root:
        return True, fs.LocalFileSystem(), str(Path(root).absolute())
    try:
        filesystem, base = fs.FileSystem.from_uri(root)
    except (pa.ArrowInvalid, OSError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot open the cache {root}: {reason}; give a path or URI") from error
    return isinstance(filesystem, fs.LocalFileSystem), filesystem, base.rstrip("/")


def _sync_folder(folder: Path) -> None:
    """A rename is durable only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
