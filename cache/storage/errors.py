"""The one exception a user is meant to see."""

from __future__ import annotations

import errno
from collections.abc import Sequence


class InputError(Exception):
    """The request or its input is wrong.

    The message is one line: what failed, what was found, what to do next. The command line prints
    it and exits 2; anything else that escapes is a fault of ours and exits 1.
    """

    def __str__(self) -> str:
        """One line, also where a path or another library's message in it has several."""
        return " ".join(super().__str__().split())


_FEW = 8
_LONG = 200  # characters of a name
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def no_room(error: BaseException | None) -> bool:
    """Whether the system refused to write because the disk is full, or the user's quota."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def one_of(what: str, found: object, choices: object, listing: str = "") -> InputError:
    """An InputError for a name that is not among the known ones, with the nearest as a hint.

    Of many, which the command `listing` lists, only some are named.
    """
    names = [str(choice) for choice in choices]  # type: ignore[attr-defined]
    near = nearest(str(found), names)
    if listing and len(names) > _FEW:
        told = f"{', '.join(names[:3])} … ({len(names)} in all);"
        lists = f" `{listing}` lists them"
    else:
        told, lists = ", ".join(names) or "nothing", ""
    hint = f"did you mean {near!r}?" if near else f"choose from {told}"
    shown = str(found) if len(str(found)) <= _LONG else f"{str(found)[:_LONG]}…"
    return InputError(f"unknown {what} {shown!r}: {hint}{lists}")


def nearest(found: str, names: Sequence[str]) -> str | None:
    """The name most like what was found; of equals the one that begins alike longest, the first.

    >>> nearest("resnet21", ["resnet32", "resnet18", "resnet20", "resnet26"])
    'resnet20'
    """
    import difflib
    from itertools import takewhile

    near = difflib.get_close_matches(found, names, n=max(len(names), 1))

    def likeness(name: str) -> tuple[float, int]:
        ratio = difflib.SequenceMatcher(None, name, found).ratio()
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(name, found, strict=False))
        return ratio, len(list(alike))

    return max(sorted(near, key=names.index), key=likeness, default=None)
