"""Defaults of options: cascade.toml, then $CASCADE_OPTION, both below the flags themselves.

[defaults]            # every command that has the option
cache = "s3://bucket/cache"

[threshold]           # this command only; "cache ls" is one, too
objective = "1se"
"""

from __future__ import annotations

import os
import re
import reprlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE, VARIABLE, PREFIX, EVERYWHERE = "cascade.toml", "CASCADE_CONFIG", "CASCADE_", "defaults"
# Not options of a run.
_NOT_ASKED = {"help", "version", "install_completion", "show_completion"}
# Commands of which nothing else can be set: what goes is said each time.
_ONLY = {"cache rm": {"cache", "json", "yes"}}

_SHOWN = 200  # characters of a value
LARGEST = 2**63  # of whole numbers; one of 5,000 digits cannot even be printed
# A key in so many parts, for which tomllib takes the square of their number.
_DEEP_KEY = re.compile(r"""(?<!["'\w.-])(?:["'\w-]+[ \t]*\.[ \t]*){32}""")

Commands = dict[str, dict[str, Any]]  # click options by long name, by command


@dataclass(frozen=True)
class Setting:
    """One default in force: of `command` ("cache ls"), for `option` as its flag is spelt without
    dashes in front, and where it stands; `parameter` is Python's name of the option."""

    command: str
    option: str
    value: Any
    source: str
    parameter: str


def file_in_force() -> str | None:
    """$CASCADE_CONFIG, none where that is empty; else the nearest cascade.toml, from here up."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return named or None
    try:
        here = Path.cwd()
    except OSError:  # it was deleted
        return None
    found = (folder / FILE for folder in (here, *here.parents))
    return next((str(path) for path in found if os.path.lexists(path)), None)


def asked() -> bool:
    """Whether anything may be configured at all."""
    ours = (name for name in os.environ if name.startswith(PREFIX) and name != VARIABLE)
    return file_in_force() is not None or any(ours)


def settings(root: Any) -> list[Setting]:
    """What is configured, for each command of the click group `root`; InputError for unknown keys.

    Of several defaults of one option the last in force is given.
    """
    known = commands(root)
    found: dict[tuple[str, str], Setting] = {}
    for each in (*_from_file(file_in_force(), known), *_from_environment(known)):
        found[each.command, each.parameter] = each
    return list(found.values())


def default_map(root: Any) -> dict[str, Any]:
    """The same as click takes it: {command: {parameter: value}}, groups nested."""
    out: dict[str, Any] = {}
    for each in settings(root):
        inner = out
        for name in each.command.split():
            inner = inner.setdefault(name, {})
        inner[each.parameter] = each.value
    return out


def commands(group: Any, before: str = "") -> Commands:
    """Each command below a click group, with its options by every long name."""
    found: Commands = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, f"{before}{name} ")
        else:
            options = _options(command)
            settable = _ONLY.get(f"{before}{name}", options.keys())
            found[f"{before}{name}"] = {key: options[key] for key in options if key in settable}
    return found


def _options(command: Any) -> dict[str, Any]:
    return {
        _plain(flag): parameter
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name not in _NOT_ASKED
        for flag in parameter.opts
        if flag.startswith("--")
    }


def _plain(name: str) -> str:
    return name.lstrip("-").lower().replace("_", "-")


def _from_file(path: str | None, known: Commands) -> Iterator[Setting]:
    from cache.errors import InputError, one_of

    if path is None:
        return
    for section, keys in sorted(_read(path).items(), key=lambda item: item[0] != EVERYWHERE):
        if section != EVERYWHERE and section not in known:
            raise one_of(f"section of {path}", section, [EVERYWHERE, *known])
        if not isinstance(keys, dict):
            raise InputError(f"{path}: {section} is no section: write [{section}] and its keys")
        places = list(known) if section == EVERYWHERE else [section]
        for key, value in keys.items():
            yield from _everywhere(f"{path} [{section}]", key, value, places, known)


def _everywhere(
    source: str, key: str, value: Any, places: list[str], known: Commands
) -> Iterator[Setting]:
    """A key for all the commands among `places` that have the option."""
    from cache.errors import one_of

    name = _plain(key)
    having = [place for place in places if name in known[place]]
    if not having:
        options = sorted({option for place in places for option in known[place]})
        raise one_of(f"key in {source}", key, options)
    for place in having:
        option = known[place][name]
        yield Setting(place, name, _value(source, key, value, option), source, option.name)


def _value(source: str, key: str, value: Any, option: Any) -> Any:
    """A list is what commas separate on the command line, unless the option may be repeated."""
    from cache.errors import InputError

    if not usable(value) or (option.is_flag and not isinstance(value, bool)):
        wanted = "true or false" if option.is_flag else "a string, number or list"
        raise InputError(f"{source}: {key} = {brief(value)} is not understood: give {wanted}")
    if isinstance(value, list):
        return value if option.multiple else ",".join(map(str, value))
    return value


def usable(value: Any) -> bool:
    """Whether an option can be this: a text, a number that can be printed, a list of such."""
    if isinstance(value, list):
        return all(usable(each) and not isinstance(each, list) for each in value)
    if isinstance(value, int):
        return abs(value) < LARGEST
    return not isinstance(value, dict)


def brief(value: Any) -> str:
    """A value as a message shows it, however large or deep it is."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = _SHOWN
    try:
        text = shown.repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _read(path: str) -> dict[str, Any]:
    from cache.errors import InputError
    from cache.files import read_text

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    text = read_text(path)
    if deep := _DEEP_KEY.search(text):
        line = text.count("\n", 0, deep.start()) + 1
        raise InputError(
            f"{path}, line {line}: a key of more than 32 parts: write [section] and key"
        )
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no TOML: {str(error)[:200]}") from error


def _from_environment(known: Commands) -> Iterator[Setting]:
    """$CASCADE_COST_DEVICE is --cost-device of every command that has it; others are not ours."""
    for variable, text in os.environ.items():
        name = _plain(variable.removeprefix(PREFIX))
        if not variable.startswith(PREFIX) or variable == VARIABLE or not text:
            continue
        for command, options in known.items():
            if name in options:
                option = options[name]
                value = _truth(variable, text) if option.is_flag else text
                yield Setting(command, name, value, f"${variable}", option.name)


def _truth(variable: str, text: str) -> bool:
    from cache.errors import InputError

    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in words:
        raise InputError(f"${variable}={text!r} is not understood: give 1 or 0")
    return words[text.lower()]
