"""A cost as a user writes it: 0.5mJ, 12ms, 150M, or a bare number in the cost's own unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from cache import InputError
from stages.costs import Prices

# By kind of cost: how much of its own unit one of each is.
_SCALES: dict[str, dict[str, float]] = {
    "joules": {"J": 1, "mJ": 1e-3, "µJ": 1e-6, "μJ": 1e-6, "uJ": 1e-6},
    "latency": {"s": 1e3, "ms": 1, "µs": 1e-3, "μs": 1e-3, "us": 1e-3},
    "macs": {"k": 1e3, "M": 1e6, "G": 1e9},
}


_MOST_MACS = 10**18


def parse_cost(text: str, prices: Prices) -> float:
    """The cost in the prices' own unit; InputError for another kind's unit, and no number.

    Decimal digits count as written: 0.3M is 300000, not the nearest double times a million.
    """
    scales = _SCALES.get(prices.kind, {})
    found = _amount(text, scales)
    if found is None:
        units = ", ".join(scales)
        with_unit = f", or one with {units}" if units else ""
        raise InputError(
            f"{text!r} is no cost in {prices.unit}: give a number of {prices.unit}{with_unit}, or "
            "choose another --cost"
        )
    return float(found)


def parse_macs(text: str) -> int:
    """Multiply-adds: 1000000, 1e6 or 1M; InputError for what is no whole number up to 10^18."""
    found = _amount(text, _SCALES["macs"])
    if found is None or found > _MOST_MACS or found != int(found):
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
