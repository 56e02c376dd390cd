"""Costs as they are told: in four digits, of joules those of millijoules, of multiply-adds those of
thousands, millions or billions."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

_DIGITS = 4
_TIMES = 9.0  # as much more, from which on it is told in times
_COUNTED = "multiply-adds"
_PREFIXES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))
# How a unit is told, and how many of that one of it is.
_TOLD = {"J": ("mJ", 1e3)}


def told_in(unit: str) -> str:
    """The unit in which costs of this one are told.

    >>> told_in("J"), told_in("ms")
    ('mJ', 'ms')
    """
    return _TOLD.get(unit, (unit, 1.0))[0]


def figures(unit: str, value: float, *others: float) -> list[str]:
    """A cost and others beside it, such as the ends of its interval, in as many decimals as it.

    >>> figures("multiply-adds", 123929.6, 98765.4), figures("J", 0.0036258, 0.012)
    (['123.9 k', '98.8 k'], ['3.626', '12.000'])
    """
    scale, prefix = _scale(unit, value)
    scaled = [x / scale for x in (value, *others)]
    told = [f"{x:,.0f}" for x in scaled] if (unit, prefix) == (_COUNTED, "") else _rounded(scaled)
    return [f"{each}{prefix}" for each in told]


def _scale(unit: str, value: float) -> tuple[float, str]:
    if unit == _COUNTED:
        return next(((s, name) for s, name in _PREFIXES if abs(value) >= s), (1.0, ""))
    return 1 / _TOLD.get(unit, (unit, 1.0))[1], ""


def _rounded(values: Sequence[float]) -> list[str]:
    size = abs(values[0]) or max(map(abs, values))
    decimals = _DIGITS - 1 - floor(log10(size)) if size else 0
    return [f"{each:,.{max(decimals, 0)}f}" for each in values]


def figure(value: float, unit: str) -> str:
    """One cost without its unit."""
    return figures(unit, value)[0]


def relative(saved: float) -> str:
    """A share that is saved, as what is paid.

    >>> relative(0.824), relative(-0.086), relative(0.0), relative(-20.0)
    ('82% less', '8.6% more', 'as much', '21 times')
    """
    share = abs(saved)
    if saved < -_TIMES:
        return f"{1 - saved:,.0f} times"
    if share < 5e-4:
        return "as much"
    return f"{share:.{0 if share >= 0.0995 else 1}%} {'less' if saved > 0 else 'more'}"


def budget(value: float, unit: str) -> str:
    """A cost that somebody named, as shortly as they may have.

    >>> budget(100_000, "multiply-adds"), budget(0.0005, "J")
    ('100 k multiply-adds', '0.5 mJ')
    """
    scale, prefix = _scale(unit, value)
    return f"{value / scale:.6g}{prefix} {told_in(unit)}"


def amount(value: float, unit: str) -> str:
    """A cost with the unit it is told in."""
    return f"{figure(value, unit)} {told_in(unit)}"


def interval(value: float, low: float, high: float, unit: str) -> str:
    """A cost and the ends of its interval, without the unit.

    >>> interval(105698, 87410.9, 123985.1, "multiply-adds")
    '105.7 k (87.4 k to 124.0 k)'
    """
    told, least, most = figures(unit, value, low, high)
    return f"{told} ({least} to {most})"
