"""A cache that only lets itself be read, somebody's published copy, say, answers all the same."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

from cache import InputError, Store
from stages.telling import once

T = TypeVar("T")

_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)


def kept(store: Store, write: Callable[[], T]) -> T | None:
    """What `write` gives; None, told once, where the cache may only be read."""
    try:
        return write()
    except InputError as error:
        if not _refused(error.__cause__):
            raise
        once(f"{store.root} may only be read: nothing is stored there")
        return None


def _refused(cause: BaseException | None) -> bool:
    """Whether the storage does not allow writing, as opposed to failing at it."""
    if not isinstance(cause, OSError):
        return False
    return cause.errno in _REFUSALS or "ACCESS_DENIED" in str(cause)
