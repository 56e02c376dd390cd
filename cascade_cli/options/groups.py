"""Options that belong together are one dataclass, and a command takes it as one parameter.

typer knows flat parameters only. `grouped` shows it the options of each group as such, under their
own names, and hands the command the dataclass built of what typer parsed:

    @dataclass(frozen=True)
    class CommonOptions:
        cache: str | None = option(None, "Cache: a folder or URI.")
        as_json: bool = option(False, "Print one JSON object on stdout.", "--json")

    @grouped("model cache", cache="Where the model is.")
    def show(common: CommonOptions, model: str = option("a", "Name.", "-m")) -> None: ...

An option that the order leaves out is none of that command's, and keeps its default; so does a
field that is no option, which is for Python to fill in.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from dataclasses import Field, field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

Command = Callable[..., None]


def option(default: Any, help: str, *flags: str, **settings: Any) -> Any:
    """A group's field, or a command's parameter, that is an option: required where its default is
    `...`, and with typer's other settings.

    Its long flag is its name unless `flags` have another.
    """
    return field(default=default, metadata={"help": help, "flags": flags, "settings": settings})


def grouped(order: str, **helps: str) -> Callable[[Command], Command]:
    """A decorator; `order` names the options as `--help` lists them, or a group for the rest of
    its own. `helps` are what some of them say here instead.

    TypeError where it names others than there are, what two groups have, or not all that belong
    to none.
    """

    def decorate(function: Command) -> Command:
        hints = get_type_hints(function, include_extras=True)
        given = inspect.signature(function).parameters
        groups = {name: _options_of(hints[name]) for name in given if is_dataclass(hints[name])}
        alone = {name: (hints[name], given[name].default) for name in given if name not in groups}
        flat = alone | {name: one for group in groups.values() for name, one in group.items()}
        words = [*(name for name in alone if name == "context"), *order.split()]
        names: list[str] = []
        for word in words:
            rest = [name for name in groups.get(word, ()) if name not in words]
            names += rest if rest and word not in flat else [word]
        declared = Counter([*alone, *(name for group in groups.values() for name in group)])
        wrong = {name for name in names if declared[name] != 1 or names.count(name) > 1}
        if wrong := wrong | {*alone, *helps}.difference(names):
            raise TypeError(f"{function.__name__}: {wrong} in its order or options")

        @wraps(function)
        def command(*context: Any, **values: Any) -> None:
            whole = {
                name: hints[name](**{each: values.pop(each) for each in options if each in values})
                for name, options in groups.items()
            }
            function(*context, **values, **whole)

        # typer reads these; it calls with keywords alone.
        parameters = [_parameter(name, *flat[name], helps.get(name)) for name in names]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate


def _options_of(kind: Any) -> dict[str, tuple[Any, Any]]:
    """Type and declaration of each option of a group."""
    hints = get_type_hints(kind)
    return {each.name: (hints[each.name], each) for each in fields(kind) if each.metadata}


def _parameter(name: str, kind: Any, default: Any, help: str | None) -> inspect.Parameter:
    """As typer reads it, where it is an `option`; else as it is."""
    if isinstance(default, Field):
        told, default = default.metadata, default.default
        flags = told["flags"]
        # Without any, typer makes of True a switch that can be turned off.
        if default is not True and not any(flag.startswith("--") for flag in flags):
            flags = (*flags, f"--{name.replace('_', '-')}")
        named = typer.Option(*flags, help=help or told["help"], **told["settings"])
        kind = Annotated[kind, named]
        default = inspect.Parameter.empty if default is ... else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
