"""The small files in which the kernel shows sensors, and what they belong to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stages.energy.errors import NoPermissionError, SensorError, SensorMissingError

ERRORS = {PermissionError: NoPermissionError, FileNotFoundError: SensorMissingError}


def text_of(path: Path, remedy: str = "") -> str:
    """What a file holds. Raises SensorError; without permission it names the remedy."""
    try:
        return path.read_text().strip()
    except OSError as error:
        kind = ERRORS.get(type(error), SensorError)
        mend = f": {remedy}" if remedy and kind is NoPermissionError else ""
        raise kind(f"cannot read {path}: {error.strerror or error}{mend}") from error


def number_of(path: Path, kind: Callable[[str], float] = float, remedy: str = "") -> float:
    """The number that a file holds, as `kind` reads it. Raises SensorError."""
    text = text_of(path, remedy)
    try:
        return float(kind(text))
    except ValueError as error:
        raise SensorError(f"{path} holds {text[:40]!r}, not a number") from error


def if_there(path: Path) -> str:
    """What a file holds, as it is; nothing where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
