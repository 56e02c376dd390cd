"""Certified thresholds: with probability at least 1 − δ over the calibration images, the deployed
cascade loses at most ε accuracy against a reference.

Learn then test, in a fixed sequence: one part of the images proposes candidates and puts them in
order, safest first; the other part tests them in that order at level δ and stops at the first that
fails. The cheapest that passed is deployed, unless the reference, which loses nothing by definition
and needs no test, costs less; where none passed there is a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cache import InputError, one_of
from stages.cascade import Limit
from stages.certify.bounds import BOUNDS

SAFEST = "the safest candidate"  # what every reason starts with
# Candidates tested at once: few, since the first that fails ends it.
_BLOCK = 16


@dataclass(frozen=True)
class Limits:
    """At most `epsilon` accuracy is lost with probability 1 − `delta`; where they are given, B also
    runs on at most `usage` of the requests, and a request costs at most `cost`."""

    epsilon: float
    delta: float
    bound: str = "binomial"
    usage: float | None = None
    cost: float | None = None

    def __post_init__(self) -> None:
        for name in ("epsilon", "delta"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise InputError(f"{name} must lie between 0 and 1, found {value}")
        if self.bound not in BOUNDS:
            raise one_of("bound", self.bound, list(BOUNDS))

    @property
    def capped(self) -> bool:
        return self.usage is not None or self.cost is not None


@dataclass(frozen=True)
class Certificate:
    """What passed.

    `order` intp [C], the candidates as tested; `p_values` float64 [T], of the first T of them, the
    last of which failed unless all passed; `passed` of them at `level`; `chosen`, the cheapest of
    these, None where none passed; then `why`, and `images`, about how many testing images would do
    (None where no number would); `safest`, the first that was tested: its sweep and λ.
    """

    order: np.ndarray
    p_values: np.ndarray
    passed: int
    level: float
    n_test: int
    chosen: int | None
    why: str | None = None
    images: int | None = None
    safest: tuple[int, Limit] | None = None


def check_calibration(
    split: str, keys: Sequence[object], trained: Mapping[str, tuple[Sequence[str], str]]
) -> None:
    """InputError unless these images can calibrate: new to every model, and none of them twice.

    `keys` [N] tell images apart: digests of their contents, or the dataset's own keys. `trained`
    maps each model to the splits its weights have seen and how that is known, as
    `fitting.trained_splits` gives them.
    """
    guilty = [f"{model} ({source})" for model, (seen, source) in trained.items() if split in seen]
    if guilty:
        raise InputError(
            f"{', '.join(guilty)} was trained on {split}, which can therefore certify nothing: "
            "calibrate on a split that no model has seen"
        )
    first: dict[object, int] = {}
    repeats = [i for i, key in enumerate(keys) if first.setdefault(key, i) != i]
    if repeats:
        i = repeats[0]
        raise InputError(
            f"{len(repeats)} of the {len(keys)} images of {split} repeat (image {i} is "
            f"image {first[keys[i]]} again), so that the data look larger than they are: leave "
            "them out"
        )


def in_sequence(
    p_of: Callable[[np.ndarray], np.ndarray],
    costs: np.ndarray,
    order: np.ndarray,
    limits: Limits,
    differences: Callable[[np.ndarray], np.ndarray],
) -> Certificate:
    """Test at level δ in this order up to the first failure (each null hypothesis is reached only
    past all before it, so δ is not divided); the cheapest that passed is chosen.

    `p_of` and `differences` are functions from rows intp [c] to p-values [c] and int8 [c, N].
    """
    p_values = _until_failure(p_of, order, limits.delta)
    passed = int((p_values <= limits.delta).sum())
    first = differences(order[:1])
    chosen = int(order[np.argmin(costs[order[:passed]])]) if passed else None
    made = Certificate(order, p_values, passed, limits.delta, first.shape[1], chosen)
    if passed or not len(order):
        return made
    images = BOUNDS[limits.bound](first[0], limits.epsilon, limits.delta)
    return replace(made, why=_why(first[0], float(p_values[0]), images, limits), images=images)


def _until_failure(
    p_of: Callable[[np.ndarray], np.ndarray], order: np.ndarray, delta: float
) -> np.ndarray:
    """The p-values up to the first that fails."""
    seen = [np.zeros(0)]
    for start in range(0, len(order), _BLOCK):
        p = p_of(order[start : start + _BLOCK])
        failed = np.flatnonzero(p > delta)
        if len(failed):
            return np.concatenate([*seen, p[: failed[0] + 1]])
        seen.append(p)
    return np.concatenate(seen)


def _why(safest: np.ndarray, p: float, images: int | None, limits: Limits) -> str:
    lost = (safest > 0).mean() if limits.bound == "binomial" else safest.mean()
    found = (
        f"{SAFEST} loses {lost:.2%} of the {len(safest)} testing images (p = {p:.3g}, at most "
        f"{limits.delta:g} is needed)"
    )
    if images is None:
        return f"{found}: with such a loss more images do not help, a larger epsilon does"
    return f"{found}: about {images} testing images would do, or a larger epsilon"
