"""Which images of a split cannot be decoded, found before a run rather than in its middle."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from stages.datasets.decode import UnreadableImageError
from stages.datasets.source import Source
from stages.parallel import default_workers, prefetch


class Unreadable(NamedTuple):
    """One image that cannot be decoded: its sample id, its key and what is wrong with it."""

    position: int
    key: str
    reason: str


def unreadable(
    source: Source,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Unreadable]:
    """Decodes all N images once, in threads, and collects those that fail, by position.

    `progress(done, N)` is called after each. What is no fault of one image raises InputError at
    once: a disk that fails, a damaged file of many images.

    >>> from stages.datasets import open_split
    >>> source = open_split("digits", "test")
    >>> bad = unreadable(source)
    >>> len(source.without({image.position: image.reason for image in bad}))
    500
    """
    bad = []
    checks = prefetch(_check(source), range(len(source)), workers or default_workers())
    for position, reason in enumerate(checks):
        if reason is not None:
            bad.append(Unreadable(position, source.keys[position], reason))
        if progress:
            progress(position + 1, len(source))
    return bad


def _check(source: Source) -> Callable[[int], str | None]:
    def check(position: int) -> str | None:
        try:
            source.read(position)
        except UnreadableImageError as error:
            return error.reason
        return None

    return check
