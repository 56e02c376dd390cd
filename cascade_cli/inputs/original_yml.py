"""The config.yml of the original scripts, as the options of `live`."""

from __future__ import annotations

import re
from typing import Any

import typer
import yaml

from cache import InputError, one_of, read_text
from cascade_cli.inputs.flags import is_given
from cascade_cli.inputs.settings import brief, usable
from cascade_cli.show.text import say

_TEXT, _NUMBER, _SWITCH = ("text", str), ("a number", (int, float)), ("true or false", bool)


_MODEL = {"name": _TEXT, "weights_file": _TEXT}


# What each key may hold, beside nothing; None: anything, it is not used.
SECTIONS: dict[str, Any] = {
    "first_model": _MODEL,
    "second_model": {
        "enable": _SWITCH,
        **_MODEL,
        "score_fn": _TEXT,
        "threshold": _NUMBER,
        "postcheck": _SWITCH,
    },
    "memory": {
        "enable": _SWITCH,
        "method": _TEXT,
        "duplicates": _NUMBER,
        "transforms": _NUMBER,
    },
    "dataset_path": _TEXT,
    "root_password": None,
}


LARGEST_FILE = 1 << 14  # bytes: 20 times the original's own, and PyYAML reads 100 kB a second


# Numbers as YAML 1.2 and Python write them; the YAML 1.1 that PyYAML reads wants 1.0e-3.
_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


def config_options(context: typer.Context, path: str) -> dict[str, Any]:
    """The options of `live` with what the file says in place of what was not given."""
    said = _options(path, _read(path), is_given(context, "memory"))
    kept = {
        name: value
        for name, value in said.items()
        if value is not None and not is_given(context, name)
    }
    return context.params | kept | {"config": None}


def _options(path: str, found: dict[str, Any], hashed: bool) -> dict[str, Any]:
    """What the file says, by option; InputError where it enables a memory that would not run,
    which a hash on the command line, `hashed`, may mend."""
    first, second, memory = (found[key] or {} for key in ("first_model", "second_model", "memory"))
    if memory.get("enable") and not second.get("enable"):
        raise InputError(f"{path} enables memory without second_model: enable both or neither")
    if memory.get("enable") and not memory.get("method") and not hashed:
        raise InputError(f"{path} enables memory without a method: write method: dhash, say")
    if found["root_password"]:
        say(f"{path}: root_password is not used; to shut down at the end give --end shutdown")
    options = {
        "model_1": first.get("name"),
        "weights_1": first.get("weights_file"),
        "data": found["dataset_path"],
        "duplicates": memory.get("duplicates"),
        "rotations": memory.get("transforms"),
        "memory": memory.get("method") if memory.get("enable") else None,
    }
    if not second.get("enable"):
        return {name: options[name] for name in ("model_1", "weights_1", "data")}
    limit = second.get("threshold")
    if second.get("score_fn") == "entropy" and limit is not None:
        say(f"{path}: λ of entropy is taken as entropy over ln K, in [0, 1]")
    return options | {
        "model_2": second.get("name"),
        "weights_2": second.get("weights_file"),
        "scorefn": second.get("score_fn"),
        "threshold": None if limit is None else str(limit),
        "postcheck": second.get("postcheck"),
    }


def _read(path: str) -> dict[str, Any]:
    """The file's sections, those that are missing as None; InputError for what it cannot hold."""
    text = read_text(path, LARGEST_FILE)
    try:
        found = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no YAML ({type(error).__name__}): check --config") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no sections: write first_model, second_model and so on")
    for section, value in found.items():
        if section not in SECTIONS:
            raise one_of(f"key in {path}", section, SECTIONS)
        _check(path, section, value, SECTIONS[section])
    return dict.fromkeys(SECTIONS) | found


class _Loader(yaml.SafeLoader):
    """To which 1e-3 is a number too."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _check(path: str, where: str, value: Any, allowed: Any) -> None:
    """InputError where a section or one of its keys holds what it cannot."""
    if value is None or allowed is None:
        return
    if isinstance(allowed, dict):
        if not isinstance(value, dict):
            raise InputError(f"{path}: {where} holds no keys: write {next(iter(allowed))}: …")
        for key, each in value.items():
            if key not in allowed:
                raise one_of(f"key in {where} of {path}", key, allowed)
            _check(path, f"{key} in {where}", each, allowed[key])
        return
    words, kinds = allowed
    truth = isinstance(value, bool) and kinds is not bool
    if not isinstance(value, kinds) or truth or not usable(value):
        raise InputError(f"{path}: {where} is {brief(value)}, not {words}")
