"""Two that answer the same images: how sure is the difference?

Limits of a paired difference are normal, and made of exact ones where few images differ: there
normal ones are too narrow, and none at all where no image differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, hypot, log, sqrt
from statistics import NormalDist, fmean

import numpy as np

from stages.statistics.intervals import LEVEL, Interval, z_of
from stages.statistics.shares import least, most

# Fewer differing images than this have exact limits.
FEW = 30


@dataclass(frozen=True)
class Paired:
    """Of n images, those that only the first of two gets right, `won`, and only the second,
    `lost`; means over repeats where folds decided, so not always whole.

    Under a loss by how much credit d per image differs: `won` is Σ max(d, 0), `lost` Σ max(−d, 0)
    and `squares` Σ d², where no image differs by more than `most`."""

    won: float
    lost: float
    n: int
    squares: float | None = None
    most: float = 1

    @property
    def value(self) -> float:
        """The first one's accuracy, or mean credit, minus the second one's."""
        return (self.won - self.lost) / self.n

    @property
    def differing(self) -> float:
        """The share of images that exactly one of the two gets right, or the mean of d²."""
        return (self.won + self.lost if self.squares is None else self.squares) / self.n

    @property
    def few(self) -> bool:
        """Whether normal limits would be too narrow: fewer than FEW images differ, or, as some
        count for more than others, as few by (Σ|d|)²/Σd² (Kish 1965), or as few as would make the
        sum if each differed by the most: the largest may be one that none of these showed."""
        total = self.won + self.lost
        if self.squares is None:
            return total < FEW
        return total < FEW * self.most or total**2 < FEW * self.squares

    @classmethod
    def mean(cls, several: Sequence[Paired]) -> Paired:
        """Of each sum its mean, over repeats on the same n images."""
        first = several[0]
        means = (
            None if getattr(first, name) is None else fmean(getattr(r, name) for r in several)
            for name in ("won", "lost", "squares")
        )
        won, lost, squares = means
        return cls(won or 0.0, lost or 0.0, first.n, squares, first.most)


def paired(correct: np.ndarray, other: np.ndarray) -> Paired:
    """bool [N] each."""
    won = int(np.count_nonzero(correct & ~other))
    lost = won - int(np.count_nonzero(correct)) + int(np.count_nonzero(other))
    return Paired(won, lost, len(correct))


# Of the loss and of its change: Σ max(d, 0), Σ max(−d, 0) and Σ d².
LOSS_SUMS = 6


def loss_sums(credit: np.ndarray, other: np.ndarray) -> np.ndarray:
    """int64 [..., LOSS_SUMS] of answers against others by their credits, int [..., N] each, which
    are minus their losses: what is lost, and how much more."""
    credit, other = credit.astype(np.int64), other.astype(np.int64)
    found: list[np.ndarray] = []
    for d in (-credit, other - credit):
        more, total = np.maximum(d, 0).sum(axis=-1), d.sum(axis=-1)
        found += [more, more - total, (d * d).sum(axis=-1)]
    return np.stack(found, axis=-1)


def losses_of(sums: Sequence[float], n: int, most: int) -> tuple[Paired, Paired]:
    """(loss, its change) of n images whose LOSS_SUMS these are; none differs by more than most."""
    loss, change = (
        Paired(won, lost, n, squares, most) for won, lost, squares in (sums[:3], sums[3:])
    )
    return loss, change


def change(found: Paired, level: float = LEVEL) -> Interval:
    """A paired difference: value ± z·√(variance/n); where fewer than FEW images differ by the
    Clopper–Pearson limits of the two shares it is the difference of. Under a loss these are of
    won/most and lost/most images: what an image differs by is as a part of an image that differs
    by the most, and varies less."""
    if found.few:
        return _exact(found, level)
    half = z_of(level) * sqrt((found.differing - found.value**2) / found.n)
    return Interval.around(found.value, half)


def _exact(found: Paired, level: float) -> Interval:
    """The distances of the two shares from their limits, squared and added (Newcombe 1998; Zou &
    Donner 2008): where no image is won, the limit of those that are lost."""
    error, n, value = (1 - level) / 2, found.n, found.value
    counts = found.won / found.most, found.lost / found.most
    won, lost = counts[0] / n, counts[1] / n
    low = hypot(won - least(counts[0], n, error), most(counts[1], n, error) - lost)
    high = hypot(most(counts[0], n, error) - won, lost - least(counts[1], n, error))
    return Interval(value, value - found.most * low, value + found.most * high)


def mean_loss(found: Paired, level: float = LEVEL) -> Interval:
    """Of the loss of n images, against one that never loses, so that `won` is all of it: ± z·SD/√n,
    where fewer than FEW images have any within the Clopper–Pearson limits of its share of the most.
    """
    if not found.few:
        around = change(found, level)
        return Interval(around.value, max(around.low, 0.0), min(around.high, float(found.most)))
    error, count = (1 - level) / 2, found.won / found.most
    ends = (found.most * limit(count, found.n, error) for limit in (least, most))
    return Interval(found.value, *ends)


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
