"""The decision rule of a confidence cascade. numpy only; nobody else decides.

For image i, models A then B, score s and threshold λ: A is trusted when s_A is at least as sure as
λ; otherwise B runs, and its answer is taken, or, with post-check, taken only if B is strictly surer
than A. Every function takes arrays; a live batch of one is their smallest case, and a row's result
never depends on the rows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# Rows are scored in chunks that stay in the processor's cache.
_CHUNK_BYTES = 1 << 19


@dataclass(frozen=True)
class Score:
    """A score function. `sign` is +1 where larger means surer, −1 where smaller does."""

    name: str
    sign: int
    needs_label: bool = False


SCORES: Mapping[str, Score] = {
    "maxp": Score("maxp", +1),
    "difference": Score("difference", +1),
    "entropy": Score("entropy", -1),
    # 1 where A is right, else 0; trusted at λ = 1. Post-check means nothing here.
    "oracle": Score("oracle", +1, needs_label=True),
}
LABEL_FREE = tuple(name for name, score in SCORES.items() if not score.needs_label)
ORACLE_THRESHOLD = 1.0
ALWAYS, NEVER = "always", "never"
Threshold = float | str


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


def cut(score: Score, threshold: Threshold) -> float:
    """λ on the axis where larger means surer; B always or never runs at ±∞."""
    if isinstance(threshold, str):
        return {ALWAYS: math.inf, NEVER: -math.inf}[threshold]
    return score.sign * threshold


def parse_threshold(text: str, score: Score) -> Threshold:
    """A number in the score's range [0, 1], `always` or `never`; ValueError otherwise."""
    if text in (ALWAYS, NEVER):
        return text
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{score.name} lies in [0, 1]")
    return value


def trusted(score: Score, s_a: np.ndarray, threshold: Threshold) -> np.ndarray:
    """bool [N]: A's answer stands and B does not run."""
    return score.sign * s_a >= cut(score, threshold)


def takes_b(score: Score, s_a: np.ndarray, s_b: np.ndarray, postcheck: bool) -> np.ndarray:
    """bool [N]: B's answer is taken once B has run."""
    if not postcheck or score.needs_label:
        return np.ones(len(s_a), bool)
    return s_b > s_a if score.sign > 0 else s_b < s_a
