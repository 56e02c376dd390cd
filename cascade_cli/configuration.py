"""Defaults of options: cascade.toml, then $CASCADE_OPTION, both below the flags themselves.

[defaults]            # every command that has the option
cache = "s3://bucket/cache"

[threshold]           # this command only; "cache ls" is one, too
objective = "1se"
"""

from __future__ import annotations

import os
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
    here = Path.cwd()
    found = (folder / FILE for folder in (here, *here.parents))
    return next((str(path) for path in found if os.path.isfile(path)), None)


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

    if isinstance(value, dict) or (option.is_flag and not isinstance(value, bool)):
        wanted = "true or false" if option.is_flag else "a string, number or list"
        raise InputError(f"{source}: {key} = {value!r} is not understood: give {wanted}")
    if isinstance(value, list):
        return value if option.multiple else ",".join(map(str, value))
    return value


def _read(path: str) -> dict[str, Any]:
    from cache.errors import InputError

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check ${VARIABLE}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no TOML: {error}") from error


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
