"""Two that answer the same images: how sure is the difference?

Limits of a paired difference are normal, and made of exact ones where few images differ: there
normal ones are too narrow, and none at all where no image differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, hypot, log, sqrt
from statistics import NormalDist

import numpy as np

from stages.statistics.intervals import LEVEL, Interval, z_of
from stages.statistics.shares import least, most

# Fewer differing images than this have exact limits.
FEW = 30


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


def change(found: Paired, level: float = LEVEL) -> Interval:
    """A paired difference: value ± z·√(variance/n); from fewer than FEW differing images by the
    Clopper–Pearson limits of the two shares it is the difference of."""
    if found.won + found.lost < FEW:
        return _exact(found, level)
    half = z_of(level) * sqrt((found.differing - found.value**2) / found.n)
    return Interval.around(found.value, half)


def _exact(found: Paired, level: float) -> Interval:
    """The distances of the two shares from their limits, squared and added (Newcombe 1998; Zou &
    Donner 2008): where no image is won, the limit of those that are lost."""
    error, n, value = (1 - level) / 2, found.n, found.value
    won, lost = found.won / n, found.lost / n
    low = hypot(won - least(found.won, n, error), most(found.lost, n, error) - lost)
    high = hypot(most(found.won, n, error) - won, lost - least(found.lost, n, error))
    return Interval(value, value - low, value + high)


def within_one_se(short: np.ndarray, differing: np.ndarray) -> np.ndarray:
    """bool, which points are within one paired standard error of the best: it has `short` right
    answers more, and on `differing` images exactly one of the two is right.

    Over n images credit differs by d per image, of right answers d ∈ {−1, 0, 1}; with D = Σd and
    m = Σd², the sample standard error of the mean is √((m − D²/n)/(n(n − 1))), so D/n ≤ SE exactly
    when D² ≤ m, whatever the differences are: of losses `short` is D, and `differing` m.
    """
    return short * short <= differing


def images_needed(differing: float, margin: float, error: float = 0.05) -> int:
    """About how many images would show, four times in five, that what is no worse is within the
    margin: (z_error + z_0.2)²·ρ/margin², ρ the share of images on which the two differ in being
    right; and no fewer than are needed where none is lost. Infinite without a margin.

    >>> images_needed(0.05, 0.01), images_needed(0.0, 0.01)
    (3092, 299)
    """
    z = NormalDist().inv_cdf(1 - error) + NormalDist().inv_cdf(0.8)
    return max(ceil(z * z * differing / margin**2), ceil(log(error) / log(1 - margin)))
