"""The `cascade` command: a table of commands, of which only the one that runs is imported.

cascade extract --dataset digits
cascade threshold -m1 digits_wide -m2 digits_residual
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.exceptions import Abort, TyperException

import cache
from cache import InputError
from cascade_cli import removed
from cascade_cli.exit_codes import INTERRUPTED, READER_LEFT
from cascade_cli.inputs.settings_place import any_settings, file_in_force
from cascade_cli.show.streams import guarded
from cascade_cli.show.text import say
from stages.notices import visible

_HELP = {"--help", "-h", "--version"}  # which a wrong configuration leaves alone
_RESUMING = {"extract", "hash"}


# Headings of `cascade --help`, each with its commands and their lines.
HEADINGS = {
    "Data": {
        "extract": "Run every model once over every image.",
        "import": "Bring in logits that something else computed.",
        "hash": "Hash every image, turned as asked.",
        "profile": "Measure latency and joules of each model by batch size.",
        "import-costs": "Bring in costs that something else measured.",
        "cache": "See what a cache holds, check it, remove from it.",
    },
    "Decide": {
        "score": "Turn logits into answers and scores.",
        "threshold": "Fit λ exactly for one pair or all.",
        "search": "Which cascade to deploy: out of all pairs, rules and λ.",
        "certify": "Certify a cascade from few labels.",
        "rules": "Compare deferral rules: when B runs, and which answer stands.",
        "simulate": "What a cascade answers and costs, request by request.",
        "heterogeneity": "Which models cover whose mistakes.",
        "calibrate": "Fit each model's temperature, and tell how sure it is.",
    },
    "Deploy": {
        "export": "Write a cascade to deploy, one wide table, a copy to publish.",
        "check": "Exit 3 where accuracy or cost is worse than promised.",
        "live": "Answer every image for real, time it.",
    },
    "Look": {
        "report": "Write a page to explore all models and cascades.",
        "models": "List the models: size, accuracy, what they were trained on.",
        "datasets": "List the datasets, and what lies in a folder of images.",
        "doctor": "Say which devices and energy sensors are there.",
        "config": "Show the defaults that cascade.toml and the environment set.",
    },
}
TABLE = {name: line for lines in HEADINGS.values() for name, line in lines.items()}


class _Commands(Mapping[str, Any]):
    """The table's commands as click has them, each imported when it is asked for: its module below
    `commands` holds a function, or a `typer.Typer`, of the same name."""

    def __getitem__(self, name: str) -> Any:
        line = TABLE[name]
        # `import` can be no name in Python.
        module = "import_outputs" if name == "import" else name.replace("-", "_")
        there = getattr(_imported(f"cascade_cli.commands.{module}"), module)
        if isinstance(there, typer.Typer):
            return typer.main.get_command(there)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name, short_help=line)(there)
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(TABLE)

    def __len__(self) -> int:
        return len(TABLE)


def _imported(module: str) -> ModuleType:
    """With no look for garbage, which imports leave none of: a tenth of a short command's time."""
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()


class _Group(typer.core.TyperGroup):
    """Lists, suggests and completes the commands without importing any."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        return list(TABLE)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, TABLE))  # one column for all headings
        for heading, lines in HEADINGS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), line) for name, line in lines.items()])


app = typer.Typer(
    cls=_Group,
    name="cascade",
    help="Confidence cascades of CNNs, analysed exactly from precomputed logits.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(cache.versions()["cascade-cli"] or "unknown: cascade-cli is not installed")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = None,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Exit 0 done, 2 the request or its input is wrong (one line), 130 interrupted, 1 our fault.

    141: whoever read the output has closed it.
    """
    with guarded() as stdout_there:
        try:
            _check_place(stdout_there)
            _check_words(sys.argv[1:])
            removed.refuse(sys.argv[1:])
            status = _status()
            sys.stdout.flush()
        except KeyboardInterrupt:
            status = INTERRUPTED
        except BrokenPipeError:
            sys.exit(READER_LEFT)
        except Exception as error:
            message = _users_fault(error)
            if message is None:
                raise
            _quit(message, 2)
        if status == INTERRUPTED:  # typer, too, turns Ctrl-C into this status
            resumes = _RESUMING & set(sys.argv[1:2])
            goes_on = ", it goes on after the last whole part" if resumes else ""
            _quit(f"interrupted: run the same command again{goes_on}", INTERRUPTED)
        sys.exit(status if isinstance(status, int) else 0)


def _status() -> Any:
    try:
        return app(prog_name="cascade", standalone_mode=False, default_map=_defaults())
    except SystemExit as ending:
        if isinstance(ending.__context__, BrokenPipeError):  # typer makes status 1 of it
            raise ending.__context__ from None
        raise


def _defaults() -> dict[str, Any] | None:
    """The configuration's, for the command that runs; None, at no cost, where there is none."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    command = words[0] if words and words[0] in TABLE else ""
    if not any_settings() or not (command or file_in_force()):
        return None
    from cascade_cli.inputs.settings import default_map  # yaml and toml, which few need

    try:
        return default_map(typer.main.get_command(app), command)
    except InputError as error:
        if not _only_help():
            raise
        say(f"warning: {error}")
        return None


def _only_help() -> bool:
    return not sys.argv[1:] or not _HELP.isdisjoint(sys.argv[1:])


def _check_place(stdout_there: bool) -> None:
    """There must be a place to work in, and one to print to."""
    if not stdout_there:
        _quit("stdout is closed: open it, or send it somewhere, as >answer.txt", 2)
    try:
        os.getcwd()
    except OSError:
        if not _only_help():
            _quit("the working directory is gone: change to one that is there", 2)


def _check_words(words: list[str]) -> None:
    """Bytes that are no UTF-8 arrive as lone surrogates, which no name or message can hold."""
    for word in words:
        if "\0" in word or word.encode(errors="replace").decode() != word:
            _quit(f"{word[:80]!r} is not text in UTF-8: write or name it otherwise", 2)


def _users_fault(error: Exception) -> str | None:
    """The one line for an error in the request or its input; None for a fault of ours."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, Abort):
        return "aborted"
    if isinstance(error, TyperException):
        text = " ".join(error.format_message().split())
        command = getattr(getattr(error, "ctx", None), "command_path", "cascade")
        return f"{text} (see `{command} --help`)"
    return None


def _quit(message: str, status: int) -> None:
    print(f"cascade: {visible(message)}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
