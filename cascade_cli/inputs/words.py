"""Text on the command line, taken apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite

from cache import InputError
from cascade_cli.options.common import no_share
from stages import costs


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


def risks(certify: str, what: str = "--certify") -> tuple[float, float]:
    """ε and δ of MAX_LOSS,RISK, which is called `what`."""
    try:
        epsilon, delta = map(float, certify.split(","))
    except ValueError as error:
        raise InputError(
            f"{what} {certify!r} is not understood: give MAX_LOSS,RISK, as 0.01,0.1"
        ) from error
    if wrong := "; ".join(filter(None, map(no_share, (epsilon, delta)))):
        raise InputError(f"{what} {certify}: {wrong}")
    return epsilon, delta


def whole_numbers(text: str, what: str, low: int, high: int) -> list[int]:
    """Numbers separated by commas; InputError, which names `what` it is, for one out of range."""
    words = names_in(text) or []
    for word in words:
        if not word.isdecimal() or not low <= int(word) <= high:
            raise InputError(f"{what} {word!r} is no whole number from {low} to {high}")
    return [int(word) for word in words]


def postchecks(one: bool | None) -> tuple[bool, ...]:
    """Without and with post-check, or the one asked for."""
    return (False, True) if one is None else (one,)


# By kind of cost: how much of its own unit one of each is.
_SCALES: dict[str, dict[str, float]] = {
    "joules": {"J": 1, "mJ": 1e-3, "µJ": 1e-6, "μJ": 1e-6, "uJ": 1e-6},
    "latency": {"s": 1e3, "ms": 1, "µs": 1e-3, "μs": 1e-3, "us": 1e-3},
    "macs": {"k": 1e3, "M": 1e6, "G": 1e9},
}


def parse_cost(text: str, prices: costs.Prices, flag: str | None = None) -> float:
    """The cost in the prices' own unit; InputError for another kind's unit, and no number, which
    names the `flag` where no other kind would do.

    Decimal digits count as written: 0.3M is 300000, not the nearest double times a million.
    """
    own: dict[str, float] = {prices.unit: 1} if prices.by_request else {}
    scales = _SCALES.get(prices.kind, own)
    found = _amount(text, scales)
    if found is None or not isfinite(float(found)):
        units = ", ".join(scales)
        with_unit = f", or one with {units}" if units else ""
        what = f"{text!r} is no cost in {prices.unit}: give a number of {prices.unit}{with_unit}"
        if flag is not None:
            raise InputError(f"{flag}: {what}")
        raise InputError(f"{what}, or choose another --cost")
    return float(found)


def parse_macs(text: str) -> int:
    """Multiply-adds: 1000000, 1e6 or 1M; InputError for what is no whole number up to 10^18."""
    found = _amount(text, _SCALES["macs"])
    if found is None or found > 10**18 or found != int(found):
        raise InputError(
            f"--macs {text!r} is no whole number of multiply-adds up to 10^18: write 1000000 or 1M"
        )
    return int(found)


def _amount(text: str, scales: Mapping[str, float]) -> Decimal | None:
    """A number, times its unit's scale; None for what is neither."""
    found = re.fullmatch(r"\s*(\d+\.?\d*(?:[eE][+-]?\d{1,3})?|\.\d+)\s*(\S*)\s*", text)
    if found is None or found[2] not in ("", *scales):
        return None
    return Decimal(found[1]) * Decimal(str(scales.get(found[2], 1)))
