"""Where the console script starts: ready for Ctrl-C while all that a command needs is imported."""

from __future__ import annotations

import os
import signal

from cascade_cli.exit_codes import INTERRUPTED

_LINE = b"cascade: interrupted: run the same command again\n"


def main() -> None:
    """`cascade_cli.main.main`, with the same exit codes from the first import on."""
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a shell may ignore it
    if heeded:
        signal.signal(signal.SIGINT, _leave)
    from cascade_cli.main import main as run  # once Ctrl-C is minded

    try:
        if heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:  # before `run` minds it itself
        _leave()


def _leave(*_: object) -> None:
    """At once: an exception in the midst of an import may be lost, or told at length."""
    try:
        os.write(2, _LINE)
    finally:
        os._exit(INTERRUPTED)
