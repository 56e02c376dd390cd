"""A disk that counts what is done to it, and strikes at a number: a kill, or a refusal."""

from __future__ import annotations

import builtins
import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import cache.storage.files
import cache.storage.store


class Disk:
    """Counts the cache's file operations; at number `at` (and after, if `lasting`) `strike` is
    called, with the file and data where the operation is a write.
    """

    def __init__(self, at=None, strike=None, lasting=False):
        self.at, self.strike, self.lasting, self.done = at, strike, lasting, []
        self._lock = threading.Lock()

    def step(self, name, file=None, data=None):
        with self._lock:
            number = len(self.done)
            self.done.append(name)
        if self.at is not None and (number == self.at or (self.lasting and number > self.at)):
            self.strike(file, data)

    def wrap(self, name, operation):
        def wrapped(*args, **kwargs):
            self.step(name)
            return operation(*args, **kwargs)

        return wrapped

    def open(self, *args, **kwargs):
        self.step("open")
        return _File(self, builtins.open(*args, **kwargs))

    def root(self, root):
        local, inner, base = _open_root(root)
        return local, _FileSystem(self, inner), base

    @contextmanager
    def __call__(self):
        with ExitStack() as patches:
            patch = patches.enter_context
            for module in (cache.storage.store, cache.storage.files):
                patch(mock.patch.object(module, "open", self.open, create=True))
            patch(mock.patch.object(cache.storage.store, "_open_root", self.root))
            for owner, name in _OPERATIONS:
                patch(mock.patch.object(owner, name, self.wrap(name, getattr(owner, name))))
            yield self


_OPERATIONS = (
    *((os, name) for name in ("replace", "fsync", "open")),
    *((Path, name) for name in ("mkdir", "unlink")),
)
_open_root = cache.storage.store._open_root
_REQUESTS = ("delete_file", "open_input_file", "get_file_info")


class _FileSystem:
    """pyarrow's, with its requests counted."""

    def __init__(self, disk, inner):
        self._inner = inner
        for name in _REQUESTS:
            setattr(self, name, disk.wrap(name, getattr(inner, name)))

    def __getattr__(self, name):
        return getattr(self._inner, name)


class _File:
    def __init__(self, disk, file):
        self._disk, self._file = disk, file

    def write(self, data):
        self._disk.step("write", self._file, data)
        return self._file.write(data)

    def flush(self):
        self._disk.step("flush")
        return self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)


def die(file, data):
    """Killed; a write is left half done."""
    if file is not None:
        half = memoryview(data)
        file.write(half[: len(half) // 2])
        file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
