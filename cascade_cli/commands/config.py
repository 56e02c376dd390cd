"""`config`: which defaults are in force, and where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from cache import one_of
from cascade_cli import options as opt
from cascade_cli.inputs.settings import commands, settings
from cascade_cli.inputs.settings_place import any_settings, file_in_force
from cascade_cli.show.text import print_json, print_table, say


@opt.grouped("command as_json")
def config(
    context: typer.Context,
    common: opt.CommonOptions,
    command: Annotated[
        str | None, typer.Argument(help="One command only, as threshold or 'cache ls'.")
    ] = None,
) -> None:
    """Show the defaults that cascade.toml and the environment set, and where.

    \b
    cascade config threshold
    """
    root: Any = context.find_root().command
    first = None if command is None else command.partition(" ")[0]  # the others are not imported
    if first is not None and (first not in root.commands or command not in commands(root, first)):
        raise one_of("command", command, list(commands(root)))
    known = settings(root, first) if any_settings() else []
    found = [each for each in known if command in (None, each.command)]
    rows = [{key: row[key] for key in COLUMNS} for row in map(asdict, found)]
    path = file_in_force()
    if common.as_json:
        print_json({"file": path, "settings": rows})
        return
    print(f"file: {path or 'none'}")
    if rows:
        print_table(_grouped(rows), COLUMNS)
    else:
        say("nothing is configured: every option has the default that its --help tells")


def _grouped(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for commands that share a setting; where these are many, their number."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str([row[key] for key in COLUMNS if key != "command"]), []).append(row)
    return [
        same[0] | {"command": _named([row["command"] for row in same])} for same in groups.values()
    ]


def _named(commands: Sequence[str]) -> str:
    return ", ".join(commands) if len(commands) <= NAMED else f"{len(commands)} commands"


NAMED = 3


COLUMNS = {"command": "command", "option": "option", "value": "value", "source": "from"}
