"""`config`: which defaults are in force, and where they stand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cascade_cli import configuration
from cascade_cli import options as opt
from cascade_cli.output import print_json, print_table, say


def register(app: typer.Typer) -> None:
    told = "Show the defaults of cascade.toml and the environment."
    app.command("config", short_help=told)(config)


def config(
    context: typer.Context,
    command: Annotated[
        str | None, typer.Argument(help="One command only, as threshold or 'cache ls'.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Show the defaults that cascade.toml and the environment set, and where.

    \b
    cascade config threshold
    """
    from cache.errors import one_of

    root = context.find_root().command
    known = list(configuration.commands(root))
    if command is not None and command not in known:
        raise one_of("command", command, known)
    found = [each for each in configuration.settings(root) if command in (None, each.command)]
    rows = [{key: row[key] for key in COLUMNS} for row in map(asdict, found)]
    path = configuration.file_in_force()
    if as_json:
        print_json({"file": path, "settings": rows})
        return
    print(f"file: {path or 'none'}")
    if rows:
        print_table(rows, COLUMNS)
    else:
        say("nothing is configured: every option has the default that its --help tells")


COLUMNS = {"command": "command", "option": "option", "value": "value", "source": "from"}
