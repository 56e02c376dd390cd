"""The `cascade` command: parse, call a stage, print. Heavy imports wait until a command needs them.

cascade extract --dataset digits
cascade threshold -m1 digits_wide -m2 digits_residual
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from cascade_cli import (
    analyse,
    caches,
    calibrate,
    check,
    config,
    configuration,
    costs,
    costs_import,
    doctor,
    export,
    hashing,
    images,
    listings,
    live,
    margin,
    removed,
    report,
    rules,
    search,
    simulate,
)
from cascade_cli.entry import INTERRUPTED
from cascade_cli.output import say
from cascade_cli.streams import guarded
from stages.visible_text import visible

READER_LEFT = 141
_HELP = {"--help", "-h", "--version"}  # which a wrong configuration leaves alone
_RESUMING = {"extract", "hash"}

app = typer.Typer(
    name="cascade",
    help="Confidence cascades of CNNs, analysed exactly from precomputed logits.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for module in (
    images,
    hashing,
    costs,
    costs_import,
    analyse,
    search,
    rules,
    calibrate,
    margin,
    simulate,
    live,
    export,
    check,
    report,
    listings,
    caches,
    doctor,
    config,
):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from cache.provenance import versions

        print(versions()["cascade-cli"] or "unknown: cascade-cli is not installed")
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
    """Those of the configuration; None, at no cost, where there is none."""
    if not configuration.asked():
        return None
    from cache.errors import InputError

    try:
        return configuration.default_map(typer.main.get_command(app))
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
    from typer.exceptions import Abort, TyperException

    from cache.errors import InputError

    if isinstance(error, InputError):
        return " ".join(str(error).split())
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
