"""What other installed packages add, found by their entry points; nothing is imported until asked.

A package's metadata names, in one of the groups below, an iterable of what it adds or a function
without arguments that returns one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import UnionType
from typing import Any, get_args

from cache.errors import InputError

MODELS = "cascade.models"
DATASETS = "cascade.datasets"
SENSORS = "cascade.sensors"
SCORES = "cascade.scores"


@dataclass(frozen=True)
class Added:
    """What a package adds, and the entry point that gave it."""

    item: Any
    entry: EntryPoint

    @property
    def package(self) -> str:
        """Its name, for whoever has to mend it."""
        return self.entry.dist.name if self.entry.dist else self.entry.value

    @property
    def version(self) -> str | None:
        return self.entry.dist.version if self.entry.dist else None

    def fault(self, what: str) -> InputError:
        """One line that blames the package."""
        return InputError(
            f"package {self.package}: {' '.join(what.split())}: update or uninstall it"
        )


@cache
def loaded(group: str, kind: type | UnionType) -> tuple[Added, ...]:
    """All that the installed packages add to `group`, in the order of their entries' names.

    Every item is a `kind`. Raises InputError, naming the package, for an entry that cannot be
    loaded or gives something else.
    """
    entries = sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value))
    return tuple(
        Added(item, entry) for entry in dict.fromkeys(entries) for item in _items(entry, kind)
    )


def _items(entry: EntryPoint, kind: type | UnionType) -> list[object]:
    try:
        added = entry.load()
        items = list(added() if callable(added) else added)
    except Exception as error:  # another's code can fail in any way
        raise _broken(entry, f"{type(error).__name__}: {error}") from error
    for item in items:
        if not isinstance(item, kind):
            raise _broken(entry, f"it gives a {type(item).__name__}, not a {_name(kind)}")
    return items


def _name(kind: type | UnionType) -> str:
    return " or ".join(getattr(one, "__name__", str(one)) for one in get_args(kind) or (kind,))


def _broken(entry: EntryPoint, reason: str) -> InputError:
    first = (reason.splitlines() or [""])[0]
    return InputError(
        f"package {Added(None, entry).package} cannot add its {entry.group} ({entry.value}: "
        f"{first}): update or uninstall it"
    )
