"""What is told to a person: one line each, once, and nothing in it moves a cursor.

Names, keys and notes come from files that others made. What is hidden in them is spelt out:
`\\x1b`, `\\u202e`. Letters of all languages stay.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import cache  # by attribute, so that who only shows text need not wait for pyarrow
from cache import InputError

# Control characters, separators of lines, and marks of writing direction.
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LAYOUT = "\n\t"  # what a page of text is laid out with


def visible(text: str, kept: str = "") -> str:
    """The text in one line, with an escape for each character of HIDDEN that is not in `kept`.

    >>> visible("a\\x1b[31m\\u202eb")
    'a\\\\x1b[31m\\\\u202eb'
    """
    return HIDDEN.sub(lambda one: one[0] if one[0] in kept else ascii(one[0])[1:-1], text)


def all_visible(value: Any) -> Any:
    """JSON-ready facts with every text in them visible, laid out as it was."""
    if isinstance(value, str):
        return visible(value, LAYOUT)
    if isinstance(value, dict):
        return {all_visible(key): all_visible(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [all_visible(each) for each in value]
    return value


@lru_cache(maxsize=64)
def tell_once(line: str) -> None:
    print(visible(line), file=sys.stderr, flush=True)


def sound_or_told(store: cache.Store, manifest: cache.Manifest) -> bool:
    """Whether every part has the bytes that were written; those that have not are told, as what
    is made again."""
    place = manifest.partition
    damaged = [part for part in manifest.parts if not cache.part_intact(store, place, part)]
    for part in damaged:
        path = store.describe(f"{place.path}/{part.name}")
        tell_once(f"{path} is missing or damaged: what it held is made again from the logits")
    return not damaged


def unfinished_copy(store: cache.Store) -> None:
    """Warn where the cache is a published copy whose export has not come to its end."""
    request = cache.read_marker(store)
    if request is not None:
        what = cache.describe_marker(request)
        tell_once(
            f"warning: {store.root} is an unfinished copy{what}: run its export again to finish it"
        )


T = TypeVar("T")

_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)


def kept_if_writable(store: cache.Store, write: Callable[[], T]) -> T | None:
    """What `write` gives; None, told once, where the cache may only be read or its disk is full."""
    try:
        return write()
    except InputError as error:
        why = _why(error.__cause__)
        if why is None:
            raise
        tell_once(f"{store.root} {why}: results are not stored there")
        return None


def _why(cause: BaseException | None) -> str | None:
    """Why the storage takes no more, None where it failed otherwise."""
    if cache.no_room(cause):
        return "has no space left"
    refused = isinstance(cause, OSError) and (
        cause.errno in _REFUSALS or "ACCESS_DENIED" in str(cause)
    )
    return "may only be read" if refused else None
