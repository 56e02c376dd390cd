"""How sure is a figure? One interval for each kind: a share, a paired difference, and both where
folds decided the images.

Limits of a share are Wilson's. Those of a paired difference are normal, and made of exact ones
where few images differ: there normal ones are too narrow, and none at all where no image differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, hypot, log, sqrt
from statistics import NormalDist, fmean, stdev
from typing import Any

import numpy as np

LEVEL = 0.95
# Fewer differing images than this have exact limits.
FEW = 30


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


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


@dataclass(frozen=True)
class Paired:
    """Of n images, those that only the first of two gets right, `won`, and only the second,
    `lost`; means over repeats where folds decided, so not always whole."""

    won: float
    lost: float
    n: int

    @property
    def value(self) -> float:
        """The first one's accuracy minus the second one's."""
        return (self.won - self.lost) / self.n

    @property
    def differing(self) -> float:
        """The share of images that exactly one of the two gets right."""
        return (self.won + self.lost) / self.n


def paired(correct: np.ndarray, other: np.ndarray) -> Paired:
    """bool [N] each."""
    won = int(np.count_nonzero(correct & ~other))
    lost = won - int(np.count_nonzero(correct)) + int(np.count_nonzero(other))
    return Paired(won, lost, len(correct))


def z_of(level: float) -> float:
    """The normal quantile of a two-sided interval.

    >>> round(z_of(0.95), 4)
    1.96
    """
    return NormalDist().inv_cdf((1 + level) / 2)


def share(count: float, n: int, level: float = LEVEL) -> Interval:
    """A share of n images by Wilson's score interval (Wilson 1927).

    >>> share(0, 10)
    Interval(value=0.0, low=0.0, high=0.27753279986288...)
    """
    value, z = count / n, z_of(level)
    z2 = z * z / n
    half = z * sqrt(max(value * (1 - value), 0.0) / n + z2 / (4 * n))
    low = (value + z2 / 2 - half) / (1 + z2) if count > 0 else 0.0
    return Interval(value, low, (value + z2 / 2 + half) / (1 + z2) if count < n else 1.0)


def change(found: Paired, level: float = LEVEL) -> Interval:
    """A paired difference: value ± z·√(variance/n); from fewer than FEW differing images by the
    Clopper–Pearson limits of the two shares it is the difference of."""
    if found.won + found.lost < FEW:
        return _exact(found, level)
    half = z_of(level) * sqrt((found.differing - found.value**2) / found.n)
    return Interval(found.value, found.value - half, found.value + half)


def _exact(found: Paired, level: float) -> Interval:
    """The distances of the two shares from their limits, squared and added (Newcombe 1998; Zou &
    Donner 2008): where no image is won, the limit of those that are lost."""
    error, n, value = (1 - level) / 2, found.n, found.value
    won, lost = found.won / n, found.lost / n
    low = hypot(won - least(found.won, n, error), most(found.lost, n, error) - lost)
    high = hypot(most(found.won, n, error) - won, lost - least(found.lost, n, error))
    return Interval(value, value - low, value + high)


def least(count: float, n: int, error: float) -> float:
    """The lower limit of a share, wrong with probability `error` at most (Clopper & Pearson 1934).

    >>> round(least(10, 10, 0.05), 4)
    0.7411
    """
    from scipy.special import betaincinv

    return float(betaincinv(count, n - count + 1, error)) if count > 0 else 0.0


def most(count: float, n: int, error: float) -> float:
    """The upper limit: 1 − that of the images which do not count."""
    return 1 - least(n - count, n, error)


def repeated_share(counts: Sequence[int], n: int, level: float = LEVEL) -> Interval:
    """A share that R repeats of cross-fitting counted on the same n images.

    The interval of one repeat, widened by the variance s² between them: a repeat chooses by images
    that another one decides. ± z·√(v/n + s²), v the variance of an image's outcome.
    """
    found = _widened(share(fmean(counts), n, level), [count / n for count in counts], level)
    return Interval(found.value, max(found.low, 0.0), min(found.high, 1.0))


def repeated_change(repeats: Sequence[Paired], level: float = LEVEL) -> Interval:
    """The same of a paired difference."""
    mean = Paired(fmean(r.won for r in repeats), fmean(r.lost for r in repeats), repeats[0].n)
    found = _widened(change(mean, level), [each.value for each in repeats], level)
    return Interval(found.value, max(found.low, -1.0), min(found.high, 1.0))


def _widened(found: Interval, values: Sequence[float], level: float) -> Interval:
    spread = z_of(level) * stdev(values) if len(values) > 1 else 0.0
    value = found.value
    return Interval(
        value,
        value - hypot(value - found.low, spread),
        value + hypot(found.high - value, spread),
    )


def images_needed(differing: float, margin: float, error: float = 0.05) -> int:
    """About how many images would show, four times in five, that what is no worse is within the
    margin: (z_error + z_0.2)²·ρ/margin², ρ the share of images on which the two differ in being
    right; and no fewer than are needed where none is lost. Infinite without a margin.

    >>> images_needed(0.05, 0.01), images_needed(0.0, 0.01)
    (3092, 299)
    """
    z = NormalDist().inv_cdf(1 - error) + NormalDist().inv_cdf(0.8)
    return max(ceil(z * z * differing / margin**2), ceil(log(error) / log(1 - margin)))
