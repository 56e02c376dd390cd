"""The margin of a threshold: does λ lie where two runtimes of one model decide differently?

The same weights in another runtime (another precision, device or engine) give slightly other
scores. What that does to a λ is measured from two extractions of the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.rule import Score, Threshold, cut, trusted

QUANTILES = (0.5, 0.9, 0.99, 1.0)


@dataclass(frozen=True)
class Margin:
    """How λ stands to the noise between two runtimes, `here` and `there`, on n images.

    `moved`: quantile → |s_here − s_there| over all images. `noise`: its `quantile` over the
    `neighbours` images whose score is nearest λ, for a score moves less where it is near its bound.
    `near`: images within `noise` of λ here. `flips`: images that the two runtimes decide
    differently, their positions ascending intp. `gap`: from λ to the nearest score here; `clear`
    says that it is wider than the noise. With λ `always` or `never`, noise and gap are None.
    """

    n: int
    moved: dict[float, float]
    quantile: float
    neighbours: int
    noise: float | None
    near: int
    flips: np.ndarray
    gap: float | None
    clear: bool


def margin(
    score: Score,
    here: np.ndarray,
    there: np.ndarray,
    threshold: Threshold,
    quantile: float = 0.99,
    neighbours: int = 500,
    quantiles: Sequence[float] = QUANTILES,
) -> Margin:
    """here and there: float64 [N], the score of the same model and images in two runtimes."""
    moved = abs(here - there)
    flips = np.flatnonzero(trusted(score, here, threshold) != trusted(score, there, threshold))
    count = min(neighbours, len(here))
    about = dict(zip(quantiles, np.quantile(moved, quantiles).tolist(), strict=True))
    if isinstance(threshold, str):
        return Margin(len(here), about, quantile, count, None, 0, flips, None, True)
    distance = abs(score.sign * here - cut(score, threshold))
    nearest = np.argpartition(distance, count - 1)[:count]
    noise, gap = float(np.quantile(moved[nearest], quantile)), float(distance.min())
    return Margin(
        n=len(here),
        moved=about,
        quantile=quantile,
        neighbours=count,
        noise=noise,
        near=int((distance <= noise).sum()),
        flips=flips,
        gap=gap,
        clear=gap > noise,
    )
