"""What does *choosing* a cascade yield? Bootstrap over images, seeded.

`procedure` chooses again in each resample of the fitting images and judges the choice on the images
that this resample does not contain. Scoring a choice in the resample that made it would be
optimistic twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.statistics.intervals import LEVEL, Interval, z_of

SEED = 0
_SEEN = 0.632  # of the images, by a resample
_CHUNK_BYTES = 1 << 22  # of one array over resamples and images


@dataclass(frozen=True)
class Choice:
    """A cascade as chosen: what it does to each of the N images in their order.

    `threshold` is on the axis where larger is surer; ±∞ is B always, never. `correct` bool [N], or
    int [N], what the answers are worth; `escalated` bool [N].
    """

    candidate: int
    threshold: float
    correct: np.ndarray
    escalated: np.ndarray


# Weights int32 [R, N], how often each image is in each resample → R choices.
Chooser = Callable[[np.ndarray], Sequence[Choice]]


@dataclass(frozen=True)
class Procedure:
    """What choosing among candidates yields on images that had no part in the choice.

    `accuracy`, `usage` and `accuracy_change` (against the baseline, paired) are means over the
    resamples, out of bag. `optimism` is by how much choosing flatters: 0.632 of how much more
    accurate the choice on all images looks there than choices do out of bag, which have seen 63.2 %
    of the images only (Efron 1983). `chosen` intp [R] and `thresholds` float64 [R] tell how stable
    the choice is. Where answers have a worth, its mean is meant by accuracy.
    """

    accuracy: Interval
    usage: Interval
    accuracy_change: Interval
    optimism: float
    chosen: np.ndarray
    thresholds: np.ndarray


def procedure(
    choose: Chooser,
    baseline: np.ndarray,
    resamples: int = 200,
    level: float = LEVEL,
    seed: int = SEED,
    scale: int = 1,
) -> Procedure:
    """Choose in each resample of the N fitting images, judge on those it does not contain.

    baseline: bool [N], the single model compared with is right, or int [N], what its answers are
    worth, as the choices' in units of 1/scale. A choice's score out of bag is
    unbiased for that choice, and the mean over endless resamples varies no more than one such score
    would on all N images. So the interval is the mean ± z·SE with the standard error of one cascade
    judged on N images: exact where every resample chooses alike, else on the wide side. Few
    resamples add (e − 1)/R of the variance. Memory does not grow with them.
    """
    n = len(baseline)
    rng = np.random.default_rng(seed)
    rows: list[dict[str, float]] = []
    step = max(1, _CHUNK_BYTES // (8 * n))
    for done in range(0, resamples, step):
        weights = _resampled(rng, n, min(step, resamples - done))
        choices = choose(weights)
        rows += [_judged(*both, baseline, scale) for both in zip(choices, weights, strict=True)]
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    [looked] = choose(np.ones((1, n), np.int32))
    accuracy, usage, change = (
        _out_of_bag(found, name, n, level) for name in ("accuracy", "usage", "change")
    )
    return Procedure(
        accuracy=accuracy,
        usage=usage,
        accuracy_change=change,
        optimism=_SEEN * (float(looked.correct.mean()) / scale - accuracy.value),
        chosen=found["chosen"].astype(np.intp),
        thresholds=found["threshold"],
    )


def _resampled(rng: np.random.Generator, n: int, count: int) -> np.ndarray:
    """int32 [count, n]: multinomial weights, n draws among n images."""
    draws = rng.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
    return np.bincount(draws.ravel(), minlength=count * n).reshape(count, n).astype(np.int32)


def _judged(
    choice: Choice, weights: np.ndarray, baseline: np.ndarray, scale: int
) -> dict[str, float]:
    out = weights == 0
    worth, alone = choice.correct[out].astype(np.int64), baseline[out].astype(np.int64)
    scores = {
        "accuracy": worth / scale,
        "usage": choice.escalated[out].astype(np.int8),
        "change": (worth - alone) / scale,
    }
    row: dict[str, float] = {"chosen": choice.candidate, "threshold": choice.threshold}
    for name, score in scores.items():
        row |= {name: float(score.mean()), f"{name}_variance": float(score.var(ddof=1))}
    return row


def _out_of_bag(found: dict[str, np.ndarray], name: str, n: int, level: float) -> Interval:
    value = float(found[name].mean())
    # A resample lacks N/e images: its score's variance is e·v/N, of which v/N is all resamples'.
    few = 1 + (math.e - 1) / len(found[name])
    error = float(np.sqrt(found[f"{name}_variance"].mean() / n * few))
    return Interval.around(value, z_of(level) * error)
