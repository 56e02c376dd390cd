"""How sure is a softmax row? The scores of the decision rule, from logits; numpy only.

A row's result never depends on the rows beside it.
"""

from __future__ import annotations

import math

import numpy as np

# Rows are scored in chunks that stay in the processor's cache.
_CHUNK_BYTES = 1 << 19


class NonFiniteError(ValueError):
    """`row` is the first with a NaN or infinite logit."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row} has a NaN or infinite logit")
        self.row = row


def scores_of(logits: np.ndarray) -> dict[str, np.ndarray]:
    """Answers and scores of softmax rows.

    logits: float32 [N, K], K ≥ 2, finite. Returns `prediction` int32 [N] (the first of equal
    maxima) and float64 [N] each of `maxp` = max p, `difference` = largest p − second largest p,
    `entropy` = −Σ p ln p / ln K. ValueError on fewer than two classes, NonFiniteError on NaN.

    >>> scores_of(np.array([[0.0, 0.0]], dtype=np.float32))["entropy"]
    array([1.])
    """
    n, classes = logits.shape
    if classes < 2:
        raise ValueError(f"a score needs at least two classes, found {classes}")
    prediction = np.empty(n, np.intp)
    total, weighted, second = np.empty((3, n))
    step = max(1, _CHUNK_BYTES // (8 * classes))
    buffers = np.empty((2, min(step, n), classes))
    with np.errstate(invalid="ignore"):  # what is not finite is told below
        for start in range(0, n, step):
            rows = slice(start, start + step)
            here = (prediction[rows], total[rows], weighted[rows], second[rows])
            _exponentials(logits[rows], buffers, *here)
    # NaN stays, ∞ − ∞ is NaN, and so is −∞ · 0.
    finite = np.isfinite(weighted)
    if not finite.all():
        raise NonFiniteError(int((~finite).argmax()))
    entropy = (np.log(total) - weighted / total) / math.log(classes)
    return {
        "prediction": prediction.astype(np.int32),
        "maxp": 1 / total,
        "difference": (1 - second) / total,
        "entropy": np.clip(entropy, 0, 1),
    }


def _exponentials(
    logits: np.ndarray,
    buffers: np.ndarray,
    best: np.ndarray,
    total: np.ndarray,
    weighted: np.ndarray,
    second: np.ndarray,
) -> None:
    """With x = logit − max: p = eˣ/Z, ln p = x − ln Z, so H = ln Z − Σ eˣx / Z.

    Fills in the argmax, Z = Σ eˣ, Σ eˣx and the second largest eˣ of each row.
    """
    each = np.arange(len(logits))
    logits.argmax(axis=1, out=best)
    # Row by row in memory: over another layout numpy adds up in another order.
    x, e = buffers[:, : len(logits)]
    np.copyto(x, logits)
    x -= x[each, best][:, None]
    np.exp(x, out=e)
    e.sum(axis=1, out=total)
    x *= e
    x.sum(axis=1, out=weighted)
    e[each, best] = 0.0
    e.max(axis=1, out=second)


def softmax_of(logits: np.ndarray) -> np.ndarray:
    """float64 [n, K]."""
    p = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p


def scores_of_probabilities(rows: np.ndarray) -> dict[str, np.ndarray]:
    """The same of probabilities [N, K] in [0, 1] themselves, as float64: no softmax, no logarithm
    of 0.

    >>> scores_of_probabilities(np.array([[0.75, 0.25, 0.0]]))["difference"]
    array([0.5])
    """
    n, classes = rows.shape
    p = rows.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(p > 0, p * np.log(p), 0).sum(axis=1) / math.log(classes)
    prediction = p.argmax(axis=1)
    best = p[np.arange(n), prediction]
    p[np.arange(n), prediction] = 0.0
    return {
        "prediction": prediction.astype(np.int32),
        "maxp": best,
        "difference": best - p.max(axis=1),
        "entropy": np.clip(entropy, 0, 1),
    }


def scores_of_top(classes: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """The same of the most probable classes int [N, k] and their probabilities [N, k], descending,
    k ≥ 2: all but the entropy, which takes those of every class.

    >>> scores_of_top(np.array([[7, 3]]), np.array([[0.75, 0.2]]))["prediction"]
    array([7], dtype=int32)
    """
    p = probabilities[:, :2].astype(np.float64)
    return {
        "prediction": classes[:, 0].astype(np.int32),
        "maxp": p[:, 0],
        "difference": p[:, 0] - p[:, 1],
    }
