"""What ticks leave unknown about a window.

A sensor shows the state of its last tick, so an edge of the window lies U·tick after it, U uniform
in [0, 1). A power P there leaves an error of P·tick·(U − ½) around the mean lag.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt

from stages.statistics import LEVEL, z_of


def sum_of_uniforms(a: float, b: float) -> float:
    """Half-width of the 95 % interval of a·U₁ + b·U₂, exactly; U independent, width 1.

    The density is a trapezoid: flat for |x| ≤ (a − b)/2, zero beyond (a + b)/2.

    >>> sum_of_uniforms(1.0, 0.0)
    0.475
    """
    a, b = max(a, b), min(a, b)
    tails = 1.0 - LEVEL
    if tails * a > b:  # the quantile lies on the flat top
        return LEVEL * a / 2
    return (a + b) / 2 - sqrt(tails * a * b)


def sum_of_many(widths: Sequence[float]) -> float:
    """Half-width for a sum of centred uniforms: the two widest exactly, the rest as one normal."""
    widest = sorted(widths, reverse=True)
    rest = z_of() * hypot(*widest[2:]) / sqrt(12)
    first, second = (*widest, 0.0, 0.0)[:2]
    return hypot(sum_of_uniforms(first, second), rest)


def truncation(unit: float) -> tuple[float, float]:
    """SD and 95 % half-width of the difference of two readings cut to multiples of `unit`."""
    return unit / sqrt(6), sum_of_uniforms(unit, unit)
