"""Opens a cache's root: a folder, or whatever URI pyarrow's file systems know."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyarrow import fs

from cache.storage.errors import InputError

# What pyarrow is asked for where the URI does not say, by scheme. One request for a small object
# instead of three; an end to trying again, which on Google's storage is 15 minutes.
_DEFAULTS = {
    "s3": "allow_delayed_open=true",
    "gs": "retry_limit_seconds=10",
    "gcs": "retry_limit_seconds=10",
}
_FAULTS = (pa.ArrowException, OSError, NotImplementedError, ImportError)


class Root(NamedTuple):
    """Whether it is a folder of this machine, the file system, and where the cache is in it."""

    local: bool
    filesystem: fs.FileSystem
    base: str


def open_root(root: str) -> Root:
    """InputError where there is no such place, or it does not answer."""
    if not root.strip():  # as of a variable that is not set
        raise InputError("the cache's name is empty: name a folder or URI with --cache, or nothing")
    if "\0" in root or root.encode(errors="replace").decode() != root:
        raise InputError(f"cannot open the cache {root!r}: it is no path in UTF-8; give another")
    if "://" not in root:
        if os.path.isfile(root):
            raise InputError(
                f"cannot open the cache {root}: a file is in the way; choose another with --cache"
            )
        return Root(True, fs.LocalFileSystem(), str(Path(root).absolute()))
    try:
        filesystem, base = _from_uri(root)
        if isinstance(filesystem, fs.LocalFileSystem):
            return Root(True, filesystem, base.rstrip("/") or "/")
        return Root(False, filesystem, _there(root, filesystem, base.strip("/")))
    except _FAULTS as error:
        raise InputError(
            f"cannot open the cache {root}: {reason(error)}; check the URI, the network and the "
            "credentials"
        ) from error


def reason(error: Exception) -> str:
    """What an error says, in one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:300] + "…"


def _from_uri(root: str) -> tuple[fs.FileSystem, str]:
    default = _DEFAULTS.get(root.partition("://")[0], "")
    if default and default.partition("=")[0] not in root:
        try:
            return fs.FileSystem.from_uri(root + ("&" if "?" in root else "?") + default)
        except pa.ArrowInvalid:  # an older pyarrow, or the URI itself: the next line tells
            pass
    return fs.FileSystem.from_uri(root)


def _there(root: str, filesystem: fs.FileSystem, base: str) -> str:
    """The base, once its bucket is known to be there."""
    bucket = base.partition("/")[0]
    if not bucket:
        raise InputError(f"cannot open the cache {root}: it names no bucket; give s3://BUCKET/PATH")
    if filesystem.type_name == "abfs":  # asked for one object without credentials, pyarrow aborts
        filesystem.get_file_info(fs.FileSelector(base, allow_not_found=True))
        return base
    try:
        found = filesystem.get_file_info(bucket).type
    except OSError as error:
        if "ACCESS_DENIED" in str(error):  # who may only use a prefix is told when that fails
            return base
        raise
    if found == fs.FileType.NotFound:
        raise InputError(
            f"cannot open the cache {root}: there is no bucket {bucket}; make it first"
        )
    return base
