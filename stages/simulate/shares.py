"""Shares of requests that may ask about one image again and again, with honest intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.statistics import Interval, share


def share_of(
    holds: np.ndarray,
    sample_ids: np.ndarray,
    interval: Callable[[float, int], Interval] = share,
) -> Interval:
    """The share of requests, bool [N], of these images, int64 [N]."""
    count, n, images = int(holds.sum()), len(holds), worth(sample_ids)
    found = interval(count * images / n, images)
    return Interval(count / n, found.low, found.high)


def worth(sample_ids: np.ndarray) -> int:
    """How many images, each asked once, tell as much as these requests do: n²/Σw², w being how
    often an image is asked (Kish 1965)."""
    times = np.unique(sample_ids, return_counts=True)[1]
    return max(1, round(int(times.sum()) ** 2 / int((times**2).sum())))
