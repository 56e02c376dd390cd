"""A cache that cannot be written answers all the same: somebody's published copy, a full disk."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

from cache import InputError, Store
from cache.errors import no_room
from stages.telling import once

T = TypeVar("T")

_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)


def kept(store: Store, write: Callable[[], T]) -> T | None:
    """What `write` gives; None, told once, where the cache may only be read or its disk is full."""
    try:
        return write()
    except InputError as error:
        why = _why(error.__cause__)
        if why is None:
            raise
        once(f"{store.root} {why}: results are not stored there")
        return None


def _why(cause: BaseException | None) -> str | None:
    """Why the storage takes no more, None where it failed otherwise."""
    if no_room(cause):
        return "has no space left"
    refused = isinstance(cause, OSError) and (
        cause.errno in _REFUSALS or "ACCESS_DENIED" in str(cause)
    )
    return "may only be read" if refused else None
