"""A cost as a user writes it: 0.5mJ, 12ms, 150M, or a bare number in the cost's own unit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.costs import Prices

# By kind of cost: how much of its own unit one of each is.
_SCALES: dict[str, dict[str, float]] = {
    "joules": {"J": 1, "mJ": 1e-3, "µJ": 1e-6, "μJ": 1e-6, "uJ": 1e-6},
    "latency": {"s": 1e3, "ms": 1, "µs": 1e-3, "μs": 1e-3, "us": 1e-3},
    "macs": {"M": 1e6, "G": 1e9},
}


def parse_cost(text: str, prices: Prices) -> float:
    """The cost in the prices' own unit; InputError for another kind's unit, and no number.

    Decimal digits count as written: 0.3M is 300000, not the nearest double times a million.
    """
    from decimal import Decimal

    from cache import InputError

    scales = _SCALES.get(prices.kind, {})
    found = re.fullmatch(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*(\S*)\s*", text)
    if found is None or found[2] not in ("", *scales):
        units = ", ".join(scales)
        with_unit = f", or one with {units}" if units else ""
        raise InputError(
            f"{text!r} is no cost in {prices.unit}: give a number of {prices.unit}{with_unit}, or "
            "choose another --cost"
        )
    scale = scales.get(found[2], 1)
    return float(Decimal(found[1]) * Decimal(str(scale)))
