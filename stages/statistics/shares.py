"""Shares of images: how sure is a count? Limits are Wilson's, or exact (Clopper & Pearson)."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from stages.statistics.intervals import LEVEL, Interval, z_of


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


def exact_share(count: float, n: int, level: float = LEVEL) -> Interval:
    """The same by Clopper and Pearson's interval (1934), which holds at least as often as it says.

    >>> exact_share(0, 10)
    Interval(value=0.0, low=0.0, high=0.30849710781876...)
    """
    error = (1 - level) / 2
    return Interval(count / n, least(count, n, error), most(count, n, error))


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


def of_strata(counts: Sequence[tuple[int, int, float]], n: int, level: float = LEVEL) -> Interval:
    """A share of n images that fall into strata by what is known of all of them, of each of which
    some were looked at: (those that count, those looked at, the stratum's share of the n). Each
    stratum's distance from its Wilson limits and that of the strata's shares, squared and added
    (Zou & Donner 2008; Cochran 1977, §12.2, double sampling).

    >>> of_strata([(3, 10, 1.0)], 10**9).low > share(3, 10).low - 1e-4
    True
    """
    z = z_of(level)
    each = [(share(count, looked, level), weight) for count, looked, weight in counts if weight]
    value = sum(weight * one.value for one, weight in each)
    between = z * z / n * sum(weight * (one.value - value) ** 2 for one, weight in each)
    low = sum((weight * (one.value - one.low)) ** 2 for one, weight in each)
    high = sum((weight * (one.high - one.value)) ** 2 for one, weight in each)
    low, high = value - sqrt(low + between), value + sqrt(high + between)
    return Interval(value, max(0.0, low), min(1.0, high))
