"""Options that belong together are one dataclass, and a command takes it as one parameter.

typer knows flat parameters only. `grouped` shows it the fields of each group as such, under their
own names, and hands the command the dataclass built of what typer parsed:

    @dataclass(frozen=True)
    class CommonOptions:
        cache: Annotated[str | None, typer.Option("--cache")] = None

    @grouped("model cache")
    def show(common: CommonOptions, model: Annotated[str, typer.Option()] = "a") -> None: ...

A field without an Option is none: it keeps its default, and is for Python to fill in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_origin, get_type_hints

Command = Callable[..., None]


def grouped(order: str) -> Callable[[Command], Command]:
    """A decorator; `order` names every option as `--help` lists them, the groups' among them.

    TypeError where it names others than there are.
    """

    def decorate(function: Command) -> Command:
        hints = get_type_hints(function, include_extras=True)
        given = inspect.signature(function).parameters.values()
        groups = {each.name: _options_of(hints[each.name]) for each in given}
        flat = {
            name: option
            for each in given
            for name, option in (
                groups[each.name] or {each.name: each.replace(annotation=hints[each.name])}
            ).items()
        }
        first = [name for name in flat if name == "context"]
        names = [*first, *order.split()]
        if sorted(names) != sorted(flat):
            raise TypeError(
                f"{function.__name__}: {set(names) ^ set(flat)} in its order or options"
            )

        @wraps(function)
        def command(*context: Any, **values: Any) -> None:
            whole = {
                name: hints[name](**{option: values.pop(option) for option in options})
                for name, options in groups.items()
                if options
            }
            function(*context, **values, **whole)

        # typer reads these; it calls with keywords alone.
        parameters = [flat[name].replace(kind=inspect.Parameter.KEYWORD_ONLY) for name in names]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate


def _options_of(kind: Any) -> dict[str, inspect.Parameter]:
    """The options of a group, by name; none of what is no group."""
    if not is_dataclass(kind):
        return {}
    hints = get_type_hints(kind, include_extras=True)
    return {
        each.name: inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=hints[each.name],
        )
        for each in fields(kind)
        if get_origin(hints[each.name]) is Annotated
    }
