"""A figure that is not exact: its value with the ends of its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float

    @classmethod
    def around(cls, value: float, half: float) -> Interval:
        return cls(value, value - half, value + half)

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2

    def over(self, divisor: float) -> Interval:
        """In another unit, the divisor of this one's."""
        return Interval(self.value / divisor, self.low / divisor, self.high / divisor)

    @property
    def negative(self) -> Interval:
        """Of minus it."""
        return Interval(-self.value, -self.high, -self.low)


def with_ends(name: str, found: Interval | None) -> dict[str, float | None]:
    """As the columns of a table.

    >>> with_ends("usage", None)
    {'usage': None, 'usage_low': None, 'usage_high': None}
    """
    ends = (None, None, None) if found is None else (found.value, found.low, found.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def from_ends(name: str, row: Mapping[str, Any]) -> Interval:
    """What `with_ends` wrote."""
    return Interval(*(row[key] for key in (name, f"{name}_low", f"{name}_high")))


def z_of(level: float = LEVEL) -> float:
    """The normal quantile of a two-sided interval.

    >>> round(z_of(0.95), 4)
    1.96
    """
    return NormalDist().inv_cdf((1 + level) / 2)


# Costs and random baselines have always been told with so many digits of z.
NORMAL = round(z_of(), 6)


def mean_of(values: np.ndarray) -> Interval:
    """Of float64 [N]: mean ± z·SD/√N."""
    return Interval.around(float(values.mean()), NORMAL * float(values.std()) / len(values) ** 0.5)
