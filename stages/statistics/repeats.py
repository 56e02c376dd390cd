"""What R repeats of cross-fitting say of the same n images: one interval of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from statistics import fmean, stdev

import numpy as np

from stages.statistics.differences import Paired, change, losses_of, mean_loss
from stages.statistics.intervals import LEVEL, Interval, z_of
from stages.statistics.shares import share


def repeated_share(counts: Sequence[int], n: int, level: float = LEVEL) -> Interval:
    """A share that R repeats of cross-fitting counted on the same n images.

    The interval of one repeat, _widened by the variance s² between them: a repeat chooses by images
    that another one decides. ± z·√(v/n + s²), v the variance of an image's outcome.
    """
    found = _widened(share(fmean(counts), n, level), [count / n for count in counts], level)
    return Interval(found.value, max(found.low, 0.0), min(found.high, 1.0))


def repeated_change(repeats: Sequence[Paired], level: float = LEVEL) -> Interval:
    """The same of a paired difference."""
    mean = Paired.mean(repeats)
    found = _widened(change(mean, level), [each.value for each in repeats], level)
    return Interval(found.value, max(found.low, -mean.most), min(found.high, mean.most))


def repeated_losses(
    sums: np.ndarray, n: int, most: int, scale: int, level: float = LEVEL
) -> tuple[Interval, Interval]:
    """The same of (a mean loss, its change), which one repeat alone may tell, from int [R,
    LOSS_SUMS] in units of 1/scale."""
    repeats = [losses_of(row, n, most) for row in sums.tolist()]
    losses, changes = ([row[side] for row in repeats] for side in (0, 1))
    mean = Paired.mean(losses)
    found = _widened(mean_loss(mean, level), [each.value for each in losses], level)
    loss = Interval(found.value, max(found.low, 0.0), min(found.high, mean.most))
    return loss.over(scale), repeated_change(changes, level).over(scale)


def _widened(found: Interval, values: Sequence[float], level: float) -> Interval:
    """By the variance between R repeats."""
    spread = z_of(level) * stdev(values) if len(values) > 1 else 0.0
    value = found.value
    return Interval(
        value,
        value - hypot(value - found.low, spread),
        value + hypot(found.high - value, spread),
    )
