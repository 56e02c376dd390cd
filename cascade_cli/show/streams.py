"""Standard streams as a command needs them: open, safe to look at, told of when they are full."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

from cache import InputError
from stages.notices import LAYOUT, visible

_REDRAWN = f"{LAYOUT}\r"  # what bars of other libraries are redrawn with, on stderr only


class Shown:
    """A text stream that spells out what is written, and hands what the system refuses to
    `refused`; all else is the stream's own."""

    def __init__(self, stream: Any, kept: str, refused: Callable[[OSError], None]) -> None:
        self._stream, self._kept, self._refused = stream, kept, refused

    def write(self, text: str) -> int:
        self._doing(self._stream.write, visible(text, self._kept))
        return len(text)

    def writelines(self, lines: Any) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        self._doing(self._stream.flush)

    def _doing(self, do: Callable[..., Any], *what: str) -> None:
        try:
            do(*what)
        except OSError as error:
            self._refused(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[bool]:
    """Both outputs Shown while this is open; whether there is a stdout at all.

    InputError where stdout cannot be written; a stderr that cannot takes nothing more, in silence.
    """
    usual = sys.stdin, sys.stdout, sys.stderr
    there = sys.stdout is not None
    _reopen()
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal without λ gets an escape for it
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with spelling_out():
            yield there
    finally:
        for stream in (sys.stdout, sys.stderr):
            _drop_what_is_refused(stream)
        sys.stdin, sys.stdout, sys.stderr = usual


@contextmanager
def spelling_out() -> Iterator[None]:
    """Shown in place of whatever stdout and stderr are now."""
    usual = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        Shown(usual[0], LAYOUT, _told),  # type: ignore[assignment]
        Shown(usual[1], _REDRAWN, lambda error: None),  # type: ignore[assignment]
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = usual


def unshown(stream: Any) -> Any:
    """The stream itself, for what draws with control characters."""
    return stream._stream if isinstance(stream, Shown) else stream


def _drop_what_is_refused(stream: Any) -> None:
    """What a stream still holds and cannot write goes nowhere: else Python tries again at its end,
    and exits with a status of its own."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _told(error: OSError) -> None:
    """A reader that left is told of by its own exit code."""
    if isinstance(error, BrokenPipeError):
        raise error
    raise InputError(f"cannot write to stdout: {error.strerror}") from error


def _reopen() -> None:
    """Streams that were closed lead nowhere: else the next file opened, one of the cache, would
    take their number, and what a library prints."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, this one
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
