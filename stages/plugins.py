"""What other installed packages add, found by their entry points; nothing is imported until asked.

A package's metadata names, in one of the groups below, an iterable of what it adds or a function
without arguments that returns one. What of it cannot be used stops nobody who did not ask for it.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field, dataclass, fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from cache import InputError

MODELS = "cascade.models"
DATASETS = "cascade.datasets"
SENSORS = "cascade.sensors"
SCORES = "cascade.scores"
RULES = "cascade.rules"
HASHES = "cascade.hashes"

# A name stands in paths and in lists that commas separate.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_NUMBERS: dict[Any, type] = {int: Integral, float: Real}


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

    @property
    def maker(self) -> dict[str, str | None]:
        """What tells what it made from what another version does: also a digest of the code."""
        file = Path(getattr(sys.modules.get(self.entry.module), "__file__", None) or "")
        code = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
        return {"package": self.package, "version": self.version, "code": code}

    def fault(self, what: str, hint: str = "update or uninstall it") -> InputError:
        """One line that blames the package, or the file of this project."""
        if self.entry.module.startswith("stages."):
            return InputError(f"{self.entry.value}: {what}: mend it")
        return InputError(f"package {self.package}: {what}: {hint}")

    @contextmanager
    def blamed(self, what: str, *passing: type[Exception], **hint: str) -> Iterator[None]:
        """Whatever its code raises within becomes one line that blames it; InputErrors, and what
        is `passing`, stay."""
        try:
            yield
        except (Exception, SystemExit) as error:  # another's code can fail in any way
            if isinstance(error, (InputError, *passing)):
                raise
            raise self.fault(f"{what} fails, {told(error)}", **hint) from error


@dataclass(frozen=True)
class Extras:
    """What of a group can be used, by name, and a line for each package or item that cannot."""

    items: Mapping[Any, Added]
    faults: tuple[InputError, ...]

    def listed(self) -> Mapping[Any, Added]:
        """The items, for a list of all there is; each fault is told once, on stderr."""
        from stages.notices import tell_once

        for fault in self.faults:
            tell_once(str(fault))
        return self.items

    def check(self) -> None:
        """InputError where something is broken, for a name that nothing has: it may be there."""
        if self.faults:
            raise self.faults[0]


def extras(
    group: str,
    kind: type | UnionType,
    noun: str,
    taken: Collection[Hashable] = (),
    wrong: Callable[[Any], str | None] = lambda item: misfit(item),
    name: Callable[[Any], Hashable] = lambda item: item.name,
) -> Extras:
    """What the installed packages add to `group`, by name, in the order of their entries.

    Left out is what has a name that is `taken` or that two have, and what `wrong` says something
    about. `noun` is what such a thing is called.
    """
    items: dict[Hashable, Added] = {}
    names = set(taken)
    faults: list[InputError] = []
    for one in loaded(group, kind):
        if isinstance(one, InputError):
            faults.append(one)
        elif reason := wrong(one.item):
            faults.append(one.fault(reason))
        elif (key := name(one.item)) in names:
            faults.append(one.fault(f"it adds the {noun} {one.item.name}, which is taken"))
            items.pop(key, None)  # which of the two was meant, nobody can say
        else:
            names.add(key)
            items[key] = one
    return Extras(items, tuple(faults))


@cache
def loaded(group: str, kind: type | UnionType) -> tuple[Added | InputError, ...]:
    """All that the installed packages add to `group`, in the order of their entries' names.

    Every item is a `kind`; in the place of an entry that cannot be loaded, or gives something else,
    is the line that names its package.
    """
    entries = sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value))
    return tuple(one for entry in dict.fromkeys(entries) for one in _items(entry, kind))


def of_this_project(group: str, places: Mapping[str, str]) -> dict[str, Added]:
    """What modules of this project add the same way, by name from `module:attribute`.

    ImportError, which names the line, where that is not there or has another name.
    """
    return {name: _own(EntryPoint(name, place, group)) for name, place in places.items()}


def _own(entry: EntryPoint) -> Added:
    line = f"{entry.name!r}: {entry.value!r}"
    try:
        item = entry.load()
    except AttributeError as error:  # which a face would take for a name that it lacks itself
        raise ImportError(f"{line}: {error}") from error
    if getattr(item, "name", entry.name) != entry.name:
        raise ImportError(f"{line}: its name is {item.name!r}")
    return Added(item, entry)


def _items(entry: EntryPoint, kind: type | UnionType) -> list[Added | InputError]:
    try:
        added = entry.load()
        items = list(added() if callable(added) else added)
    except (Exception, SystemExit) as error:  # another's code can fail in any way
        return [_broken(entry, told(error))]
    return [
        Added(item, entry)
        if isinstance(item, kind)
        else _broken(entry, f"it gives a {type(item).__name__}, not a {_name(kind)}")
        for item in items
    ]


def told(error: BaseException) -> str:
    """An exception in at most 200 characters of one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _name(kind: type | UnionType) -> str:
    return " or ".join(getattr(one, "__name__", str(one)) for one in get_args(kind) or (kind,))


def _broken(entry: EntryPoint, reason: str) -> InputError:
    return InputError(
        f"package {Added(None, entry).package} cannot add its {entry.group} ({entry.value}: "
        f"{reason}): update or uninstall it"
    )


def misnamed(name: Any, noun: str) -> str | None:
    """What is wrong with the name of something that paths and lists hold; None where nothing is."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return None
    return f"its {noun}'s name {name!r} is none: letters, digits, _, - and ."


def misfit(item: Any) -> str | None:
    """Which field of a dataclass does not hold what its annotation says; None where all do."""
    for field in fields(item):
        value = getattr(item, field.name)
        if not _is(value, _hint(item, field)):
            what = f"its {type(item).__name__} {getattr(item, 'name', '')!r:.40}"
            return f"{what} has {field.name} {value!r:.60}, not {field.type}"
    return None


def _hint(item: Any, field: Field[Any]) -> Any:
    """Any, where an annotation needs what is only imported for type checkers."""
    one = SimpleNamespace(__annotations__={field.name: field.type})
    try:
        return get_type_hints(one, vars(sys.modules[type(item).__module__]))[field.name]
    except NameError:
        return Any


def _is(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_is(value, each) for each in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = [inner[0]] * len(value) if inner[1:] == (...,) else inner
        return len(value) == len(each) and all(map(_is, value, each))
    if origin is Callable:
        return callable(value)
    kind = _NUMBERS.get(hint, origin or hint)
    if kind is Any or not isinstance(kind, type):
        return True
    return isinstance(value, kind) and not (kind in (Integral, Real) and isinstance(value, bool))
