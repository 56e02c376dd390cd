"""What a way of storing images must offer, and how its failures reach the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cache import InputError
from stages.datasets.source import Source
from stages.datasets.specs import DatasetSpec

Found = Mapping[str, tuple[Path, ...]]
"""The files or folders of each split that a layout sees under a data root."""


@dataclass(frozen=True)
class Request:
    """One split to open. `found` is what the layout's own `find` gave for the data root.

    In `found` the splits have the names that the dataset gives them, not their aliases. decoder: a
    name for `stages.datasets.decode.decode`; whoever decodes nothing ignores it. unlabelled: no
    labels are needed, and those that are given are not used.
    """

    dataset: str
    split: str
    found: Found
    spec: DatasetSpec | None
    decoder: str = "pil"
    unlabelled: bool = False


@dataclass(frozen=True)
class Layout:
    """A way of storing images. `expects` says in a few words what it looks for.

    find: data root, dataset's name → its splits, empty where the layout is another one; cheap,
    opens no file.
    open: the split as a Source; InputError where its content is damaged.
    """

    name: str
    expects: str
    find: Callable[[Path, str], Found]
    open: Callable[[Request], Source]


@contextmanager
def refusing(
    where: object, hint: str, kinds: type[Exception] | tuple[type[Exception], ...] = OSError
) -> Iterator[None]:
    """Turn exceptions of these kinds into a one-line InputError: where, what was found, hint."""
    try:
        yield
    except InputError:
        raise
    except kinds as error:
        raise InputError(f"{where}: {reason(error)}; {hint}") from error


@contextmanager
def needing(what: str, extra: str) -> Iterator[None]:
    """InputError where an import fails: `what` needs which package, in which extra of ours."""
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"{what}, not installed here: pip install 'cascade-cli[{extra}]'"
        ) from error


def reason(error: Exception) -> str:
    """An exception in at most 200 characters; its type leads where the message is a mere word."""
    text = " ".join((getattr(error, "strerror", None) or str(error)).split())
    return (text if " " in text else f"{type(error).__name__} {text}".strip())[:200]


# A name that would lead out of the folder it is read in, and one that is no relative path at all.
CLIMBS = re.compile(r"(^|[/\\])\.\.([/\\]|$)")
NOT_RELATIVE = re.compile(r"^$|^[/\\~]|^[A-Za-z]:|://")


def visible(name: str) -> bool:
    return not name.startswith(".")
