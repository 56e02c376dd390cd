"""Text on the command line, taken apart."""

from __future__ import annotations

import re

from cache import InputError
from cascade_cli.options.common import no_share


def names_in(text: str | None) -> list[str] | None:
    """A comma-separated list, None where nothing was given."""
    if text is None:
        return None

    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise InputError(f"{text!r} names nothing: give names separated by commas")
    return found


def shard_of(text: str | None) -> tuple[int, int]:
    """(i, n) of "i/n", (0, 1) where nothing was given."""
    found = re.fullmatch(r"(\d+)/(\d+)", text or "0/1")
    index, count = map(int, found.groups()) if found else (0, 0)
    if index >= count:
        raise InputError(f"shard {text!r} is not understood: give i/n with i from 0 to n - 1")
    return index, count


def device_names(text: str | None) -> tuple[str, ...]:
    """ "0,1" → cuda:0, cuda:1; other names as they are."""
    return tuple(f"cuda:{name}" if name.isdigit() else name for name in names_in(text) or ())


def risks(certify: str) -> tuple[float, float]:
    """ε and δ of --certify."""
    try:
        epsilon, delta = map(float, certify.split(","))
    except ValueError as error:
        raise InputError(
            f"--certify {certify!r} is not understood: give MAX_LOSS,RISK, as 0.01,0.1"
        ) from error
    if any(no_share(each) for each in (epsilon, delta)):
        wrong = "; ".join(filter(None, map(no_share, (epsilon, delta))))
        raise InputError(f"--certify {certify}: {wrong}")
    return epsilon, delta


def whole_numbers(text: str, what: str, low: int, high: int) -> list[int]:
    """Numbers separated by commas; InputError, which names `what` it is, for one out of range."""
    words = names_in(text) or []
    for word in words:
        if not word.isdecimal() or not low <= int(word) <= high:
            raise InputError(f"{what} {word!r} is no whole number from {low} to {high}")
    return [int(word) for word in words]
