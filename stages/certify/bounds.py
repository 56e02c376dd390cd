"""p-values for "the risk exceeds ε" that hold at any sample size, no approximation.

The risk is the mean of ref − cascade, the reference's correctness minus the cascade's, in
{−1, 0, 1} per image, or in [−1, 1] of the largest loss. `binomial` counts only the images that the
reference alone gets right, which can only overstate the risk; `betting` takes the signed difference
as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

# The largest bet, as a share of the one that a single loss could ruin.
_BOLDEST = 0.75


def binomial(errors: np.ndarray, n: int, epsilon: float | np.ndarray) -> np.ndarray:
    """P(Bin(n, ε) ≤ errors), the exact lower tail: errors int [...] of n images → float64 [...].

    >>> binomial(np.array([0, 1]), 2, 0.5)
    array([0.25, 0.75])
    """
    from scipy.special import bdtr  # slow to import, and for few commands

    return bdtr(np.asarray(errors, np.float64), n, epsilon)


def betting(
    difference: np.ndarray, epsilon: float, delta: float, before: np.ndarray | None = None
) -> np.ndarray:
    """p-values of H₀: E[ref − cascade] > ε, from bets that grow a capital unless H₀ holds.

    difference: [C, N] in [−1, 1], images in random order, one candidate per row. `before`, [C, M],
    are other images, which only make the first bets wiser. Returns float64 [C].

    With X = (d + 1)/2 in [0, 1] and m = (ε + 1)/2, the capital Π(1 + b_t·(ε − d_t)) is a
    nonnegative supermartingale under H₀ when b_t depends on the past alone, so 1/max is a p-value
    (Ville). b_t = √(2 ln(1/δ)/(N σ²_{t−1})), at most ¾/(1 − ε): Waudby-Smith & Ramdas 2024, §3.2.
    """
    d = difference.astype(np.float64)
    n = d.shape[1]
    variance = _past_variance(d, before)
    bets = np.sqrt(2 * math.log(1 / delta) / (n * variance))
    np.minimum(bets, _BOLDEST / (1 - epsilon), out=bets)
    capital = np.log1p(bets * (epsilon - d)).cumsum(axis=1).max(axis=1, initial=0.0)
    return np.exp(-capital)


def _past_variance(d: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """float64 [C, N]: the variance of everything before each image, and of one ±1 beside it."""
    old = np.zeros((len(d), 0)) if before is None else before.astype(np.float64)
    count = 1.0 + old.shape[1] + np.arange(d.shape[1])
    total = old.sum(axis=1, keepdims=True) + d.cumsum(axis=1) - d
    square = 1.0 + (old * old).sum(axis=1, keepdims=True) + (d * d).cumsum(axis=1) - d * d
    return np.maximum(square / count - (total / count) ** 2, 1e-3 / count)


def binomial_images(difference: np.ndarray, epsilon: float, delta: float) -> int | None:
    """About how many images would show risk ≤ ε at level δ at this rate of errors.

    difference: [N] in {−1, 0, 1}. None where no number would: the rate itself reaches ε.
    """
    from scipy.special import betainc  # likewise

    rate = float((difference > 0).mean())
    if rate >= epsilon:
        return None

    def shown(n: float) -> bool:
        return betainc(n - n * rate, n * rate + 1, 1 - epsilon) <= delta

    high = 1
    while not shown(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def betting_images(difference: np.ndarray, epsilon: float, delta: float) -> int | None:
    """As `binomial_images`, for the best constant bet on this distribution of differences."""
    values, counts = np.unique(difference, return_counts=True)
    share = counts / len(difference)
    if float(values @ share) >= epsilon:
        return None
    # The growth is concave in the bet: a step of 1 % misses the highest by 0.01 % of itself.
    bets = np.geomspace(1e-9, 1, 2000) * _BOLDEST / (1 - epsilon)
    growth = float((np.log1p(np.outer(bets, epsilon - values)) @ share).max())
    return math.ceil(math.log(1 / delta) / growth)


class ImagesNeeded(Protocol):
    """How many images a bound would need."""

    def __call__(self, difference: np.ndarray, epsilon: float, delta: float) -> int | None: ...


BOUNDS: Mapping[str, ImagesNeeded] = {"binomial": binomial_images, "betting": betting_images}
