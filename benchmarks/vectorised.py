"""The original's method in whole arrays: what a good numpy programmer makes of it.

The same float32 softmax, grid of λ and first maximum as in `benchmarks.original`, without a loop
over images or λ. For benchmarks and tests only.
"""

from __future__ import annotations

import numpy as np
from scipy.special import entr

from benchmarks.original import SIGNS, Point, Scored


def softmax(logits: np.ndarray) -> np.ndarray:
    """float32 [N, K] → float32 [N, K]."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p


def scored(logits: np.ndarray) -> Scored:
    """float32 [N, K] → answers and scores; 0 · ln 0 = 0."""
    p = softmax(logits)
    top = np.partition(p, -2, axis=1)[:, -2:]
    nats = entr(p).sum(axis=1)
    columns = (top[:, 1], top[:, 1] - top[:, 0], nats / np.log(p.shape[1]), nats)
    return Scored(logits.argmax(axis=1), dict(zip(SIGNS, columns, strict=True)))


def best(
    labels: np.ndarray, first: Scored, second: Scored, name: str, grid: np.ndarray
) -> tuple[Point, Point]:
    """The best λ of the grid without and with post-check, from one sort of A's scores."""
    sign = SIGNS[name]
    s_a, s_b = (sign * model.scores[name] for model in (first, second))
    order = np.argsort(s_a)
    ascending = grid[::sign]  # in use of B
    used = np.searchsorted(s_a[order], sign * ascending)
    right_a, right_b = (model.answers == labels for model in (first, second))
    gain = right_b.astype(np.int8) - right_a
    plain, checked = (
        right_a.sum() + _prefix(each[order])[used] for each in (gain, gain * (s_b > s_a))
    )

    def point(i: int) -> Point:
        return Point(float(ascending[i]), int(plain[i]), int(checked[i]), int(used[i]))

    return point(int(plain.argmax())), point(int(checked.argmax()))


def _prefix(values: np.ndarray) -> np.ndarray:
    total = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=total[1:])
    return total


def at(
    labels: np.ndarray, first: Scored, second: Scored, name: str, postcheck: bool, threshold: float
) -> tuple[int, int]:
    """What one λ does: right answers, images that B saw."""
    sign = SIGNS[name]
    s_a, s_b = (sign * model.scores[name] for model in (first, second))
    escalated = s_a < sign * threshold
    took_b = escalated & (s_b > s_a) if postcheck else escalated
    answers = np.where(took_b, second.answers, first.answers)
    return int((answers == labels).sum()), int(escalated.sum())


def heterogeneity(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int [M, N], int [N] → float64 [M, M]: exactly one of the two is right."""
    right = (answers == labels).astype(np.float32)  # exact up to 2²⁴ images
    only = right @ (1 - right).T
    return (only + only.T).astype(np.float64) / len(labels)
