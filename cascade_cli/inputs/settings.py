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
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cache import InputError, one_of, read_text
from cascade_cli import removed
from cascade_cli.inputs.settings_place import PREFIX, VARIABLE, file_in_force

EVERYWHERE = "defaults"
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


def settings(root: Any, command: str | None = None) -> list[Setting]:
    """What is configured, for each command of the click group `root`; InputError for unknown keys.

    Of several defaults of one option the last in force is given. With `command` only what is
    about that one, or its own, is looked at: the others are not imported.
    """
    known = commands(root, command)
    found = (*_from_file(file_in_force(), root, known), *_from_environment(known))
    return list({(each.command, each.parameter): each for each in found}.values())


def default_map(root: Any, command: str) -> dict[str, Any]:
    """The same as click takes it: {command: {parameter: value}}, groups nested."""
    out: dict[str, Any] = {}
    for each in settings(root, command):
        inner = out
        for name in each.command.split():
            inner = inner.setdefault(name, {})
        inner[each.parameter] = each.value
    return out


def commands(group: Any, only: str | None = None, before: str = "") -> Commands:
    """Each command below a click group, or below one of its commands, with its options by every
    long name; "" is below none."""
    found: Commands = {}
    for name in group.commands if only is None else [only] * bool(only):
        command = group.commands[name]
        if hasattr(command, "commands"):
            found |= commands(command, before=f"{before}{name} ")
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


def _from_file(path: str | None, root: Any, known: Commands) -> Iterator[Setting]:
    if path is None:
        return
    for section, keys in sorted(_read(path).items(), key=lambda item: item[0] != EVERYWHERE):
        everywhere, first = section == EVERYWHERE, section.partition(" ")[0]
        elsewhere = all(name.partition(" ")[0] != first for name in known)
        there = everywhere or section in known or (elsewhere and first in root.commands)
        if not there:
            removed.refuse([first], f"{path}, section [{section}]: ")
            raise one_of(f"section of {path}", section, [EVERYWHERE, *commands(root)])
        if not isinstance(keys, dict):
            raise InputError(f"{path}: {section} is no section: write [{section}] and its keys")
        if not everywhere and elsewhere:
            continue  # the keys of another command are looked at when that runs
        for key, value in keys.items() if known else ():
            places = known if everywhere else {section: known[section]}
            if everywhere and not any(_plain(key) in options for options in known.values()):
                places = commands(root)  # another command may have it
            yield from _everywhere(f"{path} [{section}]", key, value, places)


def _everywhere(source: str, key: str, value: Any, known: Commands) -> Iterator[Setting]:
    """A key for all the commands that have the option."""
    name = _plain(key)
    having = {place: options[name] for place, options in known.items() if name in options}
    if not having:
        every = sorted({option for options in known.values() for option in options})
        raise one_of(f"key in {source}", key, every)
    for place, option in having.items():
        yield Setting(place, name, _value(source, key, value, option), source, option.name)


def _value(source: str, key: str, value: Any, option: Any) -> Any:
    """A list is what commas separate on the command line, unless the option may be repeated."""
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
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in words:
        raise InputError(f"${variable}={text!r} is not understood: give 1 or 0")
    return words[text.lower()]
