"""A labeller's questions on a page in the browser, from the first to the last."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Callable

from stages.labelling.question import Labeller
from stages.labelling.server import serving
from stages.labelling.session import CLOSED, STOPPED, LabelSession

AWAY_S = 10.0  # a page that is reloaded is back by then
LOOK_S = 0.2


def ask(
    labeller: Labeller,
    open_browser: bool = True,
    port: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Asks until nothing is left to ask, the person stops, the page stays closed for 10 s, or
    Ctrl-C; each answer is with the labeller before the page shows the next picture.

    The page is at 127.0.0.1 only, its address holds a token and is given to `say`; `port` 0 is any
    that is free. Raises what the labeller raises; InputError for a port that cannot be had.
    """
    session = LabelSession(labeller)
    if not session.over.is_set():
        with serving(session, port) as address:
            say(f"Label the pictures at {address} (Ctrl-C stops)")
            if open_browser:
                # In a thread, as a browser in the terminal would keep this one.
                threading.Thread(target=_open, args=(address,), daemon=True).start()
            _wait(session)
    say(session.summary())
    if session.error is not None:
        raise session.error


def _wait(session: LabelSession) -> None:
    try:
        while not session.over.wait(LOOK_S):
            if session.away_s() > AWAY_S:
                session.end(CLOSED)
    except KeyboardInterrupt:
        session.end(STOPPED)


def _open(address: str) -> None:
    """Where there is no browser, the address stands in the terminal."""
    try:
        webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return
