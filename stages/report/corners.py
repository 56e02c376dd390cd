"""Step functions of λ as lines, thinned at their corners to keep a page small."""

from __future__ import annotations

import heapq

import numpy as np

LIMIT = 2000


def outline(
    threshold: np.ndarray, share: np.ndarray, extent: tuple[float, float] = (0.0, 1.0)
) -> tuple[np.ndarray, np.ndarray]:
    """The corners (λ, share), float64 [2P] each, λ ascending, of a sweep's P steps.

    `threshold` [P] is that of `stages.threshold.stage.curve`: λ where each step ends on the side of
    surer scores, NaN for the last, where B always runs. λ runs over its `extent`.

    >>> outline(np.array([0.4, np.nan]), np.array([0.0, 1.0]))
    (array([0. , 0.4, 0.4, 1. ]), array([0., 0., 1., 1.]))
    """
    inner = threshold[:-1]
    falling = len(inner) > 1 and inner[0] > inner[-1]
    start, stop = extent[:: -1 if falling else 1]
    x = np.repeat(np.concatenate(([start], inner, [stop])), 2)[1:-1]
    y = np.repeat(share, 2)
    return (x[::-1], y[::-1]) if falling else (x, y)


def thin(x: np.ndarray, y: np.ndarray, limit: int = LIMIT) -> tuple[np.ndarray, float]:
    """Which corners of a polyline to keep, and how far off the line through them is at most.

    x float64 [V] ascending, y float64 [V]; returns indices intp [≤ limit] and the largest vertical
    distance, in units of y. Douglas & Peucker (1973), the worst corner first, so that the limit is
    spent where it shows; stops early where nothing is off.

    >>> thin(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]))
    (array([0, 2]), 0.0)
    """
    kept = [0, len(x) - 1]
    worst = [_worst(x, y, 0, len(x) - 1)]
    while worst[0][0] < -1e-12 and len(kept) < limit:
        _, at, start, stop = heapq.heappop(worst)
        kept.append(at)
        heapq.heappush(worst, _worst(x, y, start, at))
        heapq.heappush(worst, _worst(x, y, at, stop))
    return np.unique(kept), -min(worst[0][0], 0.0)


def _worst(x: np.ndarray, y: np.ndarray, start: int, stop: int) -> tuple[float, int, int, int]:
    """(−distance, index, start, stop) of the corner farthest from the chord, above or below it."""
    if stop - start < 2:
        return 0.0, start, start, stop
    within, width = y[start + 1 : stop], x[stop] - x[start]
    if width:
        slope = (y[stop] - y[start]) / width
        off = np.abs(within - y[start] - slope * (x[start + 1 : stop] - x[start]))
    else:
        low, high = sorted((y[start], y[stop]))
        off = np.maximum(within - high, low - within)
    at = int(off.argmax())
    return -float(off[at]), start + 1 + at, start, stop
