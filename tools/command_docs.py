"""docs/commands.md: every command with its options, from the commands themselves.

    python -m tools.command_docs

A test fails where the page is not what this writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from cascade_cli.main import HEADINGS, app

PAGE = Path(__file__).parents[1] / "docs/commands.md"
INTRODUCTION = """\
# Commands

What `cascade COMMAND --help` tells, on one page; written by `make docs`. `-h` is `--help`
everywhere. Any option's default can stand in `cascade.toml` or the environment:
[configuration.md](configuration.md).
"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE.name}")


def page() -> str:
    parts = [f"# {name}\n\n" + "\n".join(_sections(lines)) for name, lines in HEADINGS.items()]
    return "\n".join([INTRODUCTION, *parts])


def _sections(names: Iterable[str]) -> Iterator[str]:
    """The commands below a heading, those of a group as `cache ls`, as `cascade` lists them."""
    root = typer.main.get_command(app)
    for name in names:
        command = root.commands[name]
        inner = getattr(command, "commands", None)
        for each, part in (inner or {"": command}).items():
            yield _section(f"{name} {each}".strip(), part)


def _section(name: str, command: Any) -> str:
    """What the help tells, its examples set off, then a table of arguments and options."""
    told = [_paragraph(each) + "\n" for each in command.help.split("\n\n")]
    rows = [f"| {_flags(each)} | {_about(each)} |" for each in command.params]
    return "\n".join([f"## cascade {name}\n", *told, "| | |", "|---|---|", *rows, ""])


def _paragraph(text: str) -> str:
    """\\b before it means lines as they are: the example."""
    if text.startswith("\b"):
        return f"```text\n{text[1:].strip()}\n```"
    return _plain(text)


def _flags(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"{parameter.name.upper()}{'' if parameter.required else ' (may be left out)'}"
    both = (parameter.opts, parameter.secondary_opts)
    return " / ".join(", ".join(f"`{flag}`" for flag in flags) for flags in both if flags)


def _about(parameter: Any) -> str:
    """The help, and the default where it is a value and the help does not tell it."""
    text = parameter.help or ""
    if parameter.required and parameter.param_type_name == "option":
        text += " Required."
    default = parameter.opts[0] if parameter.default is True else parameter.default
    if default and "[default" not in text:
        text += f" [default: {default}]"
    return _plain(text)


def _plain(text: str) -> str:
    """Markdown that shows the very text; a line's end in the source is a space."""
    return re.sub(r"([<>|*\\])", r"\\\1", " ".join(text.split()))


if __name__ == "__main__":
    main()
