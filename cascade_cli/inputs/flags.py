"""What stands on the command line itself, and not in a configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import typer

from cache import InputError
from cascade_cli.options.decision import DecisionOptions

Decision = TypeVar("Decision", bound=DecisionOptions)


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, not in a configuration."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse(context: typer.Context, options: Iterable[str], why: str) -> None:
    """InputError for the first of these that stands on the command line, where it says nothing;
    a configured default may."""
    for name in options:
        if is_given(context, name):
            raise InputError(f"{flag_of(context, name)} {why}")


def threshold_or_fit(context: typer.Context, decision: Decision) -> Decision:
    """Without its λ where that is to be fitted: a flag that says how outranks a configured λ."""
    fitting = ("objective", "fit_split", "halves")
    if is_given(context, "threshold"):
        refuse(context, fitting, "fits λ, which -t gives: leave out one of them")
    fitted = any(is_given(context, name) for name in fitting)
    return replace(decision, threshold=None) if fitted else decision


def flag_of(context: typer.Context, name: str) -> str:
    """An option's long name."""
    [opts] = [each.opts for each in context.command.params if each.name == name]
    return max(opts, key=len)


def or_train(context: typer.Context, name: str, split: str | None, train: bool) -> str | None:
    """The split that the option `name` says; `--train` is the original's way to say train.

    A flag outranks a configured default.
    """
    if split is None or not train:
        return "train" if train else split
    stated = [is_given(context, each) for each in ("train", name)]
    if stated[0] == stated[1]:
        raise InputError(f"--train is {flag_of(context, name)} train: leave out one of them")
    return "train" if stated[0] else split


def memory_or_none(context: typer.Context, memory: str | None) -> None:
    """InputError for flags about a memory that there is not."""
    if memory is None:
        about = ("memory_size", "memory_radius", "memory_trust")
        refuse(context, about, "needs a hash: give --memory dhash, say")
