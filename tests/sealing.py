"""Makes a cache read only for a while, for root as well."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

# linux/capability.h
_VERSION_3 = 0x20080522
_OVERRIDING = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def sealed(root):
    """Nothing may be written below `root` meanwhile."""
    every = [Path(root), *Path(root).rglob("*")]
    for path in every:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with modes_hold():
            yield
    finally:
        for path in every:
            path.chmod(0o755)


@contextlib.contextmanager
def modes_hold():
    """For root too, in this thread and those it starts: without the capabilities to override."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    had = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; of the lower half, the upper
    _check(libc.capget(header, had))
    less = (ctypes.c_uint32 * 6)(*had)
    less[0] &= ~_OVERRIDING
    _check(libc.capset(header, less))
    try:
        yield
    finally:
        _check(libc.capset(header, had))


def _check(result):
    if result:
        raise OSError(ctypes.get_errno(), "capabilities")
