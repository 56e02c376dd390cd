"""What `live --end` does when the run is over."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

from cache import InputError
from cascade_cli.show.streams import unshown
from cascade_cli.show.text import say

_SERVICES = {
    "linux": (("systemctl", "poweroff"), ("shutdown", "-h", "now")),
    "darwin": (("osascript", "-e", 'tell application "System Events" to shut down'),),
    "win32": (("shutdown", "/s", "/t", "60"),),
}


def _alarm() -> None:
    """The terminal's bell."""
    unshown(sys.stderr).write("\a" * 3)
    say("the run is over")


def _shutdown() -> None:
    """Ask the system's own service, after saying so."""
    for command in _SERVICES.get(sys.platform, ()):
        if shutil.which(command[0]):
            sys.stdout.flush()
            say(f"shutting this machine down: {' '.join(command)}")
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except subprocess.CalledProcessError as error:
                reason = " ".join((error.stderr or "").split()) or f"status {error.returncode}"
                raise InputError(f"{command[0]} refused to shut down: {reason}") from error
            return
    raise InputError("no service to shut this machine down was found: shut it down yourself")


ENDINGS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "alarm": _alarm,
    "shutdown": _shutdown,
}
