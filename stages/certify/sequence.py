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
from stages.scores import Loss

SAFEST = "the safest candidate"  # what every reason starts with
# Candidates tested at once: few, since the first that fails ends it.
_BLOCK = 16


@dataclass(frozen=True)
class Limits:
    """At most `epsilon` accuracy is lost with probability 1 − `delta`, or under a `loss` so much
    more of that; where they are given, B also runs on at most `usage` of the requests, and a
    request costs at most `cost`."""

    epsilon: float
    delta: float
    bound: str = "binomial"
    usage: float | None = None
    cost: float | None = None
    loss: Loss | None = None

    def __post_init__(self) -> None:
        for name, most in (("epsilon", self.largest), ("delta", 1)):
            value = getattr(self, name)
            if not 0 < value < most:
                raise InputError(f"{name} must lie between 0 and {most:g}, found {value}")
        if self.bound not in BOUNDS:
            raise one_of("bound", self.bound, list(BOUNDS))
        if self.bound == "binomial" and self.loss is not None and not self.loss.is_zero_one:
            raise InputError(
                f"the binomial bound counts images, and {self.loss.name} costs more or less: give "
                "the bound betting"
            )

    @property
    def largest(self) -> float:
        """The most that an image loses."""
        return 1.0 if self.loss is None else self.loss.largest

    @property
    def share(self) -> float:
        """Epsilon of the largest loss."""
        return self.epsilon if self.loss is None else self.epsilon / self.loss.largest

    @property
    def capped(self) -> bool:
        return self.usage is not None or self.cost is not None


@dataclass(frozen=True)
class Certificate:
    """What passed.

    `candidates`, how many there are; `p_values` float64 [T], of the first T of them, the last of
    which failed unless all passed; `passed`, how many did; `chosen`, the cheapest of these, None
    where none passed; then `why`, and `images`, about how many testing images would do (None where
    no number would); `safest`, the first that was tested: its sweep and λ.
    """

    candidates: int
    p_values: np.ndarray
    passed: int
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
    limits: Limits,
    differences: Callable[[np.ndarray], np.ndarray],
) -> Certificate:
    """Test C candidates at level δ up to the first failure (each null hypothesis is reached only
    past all before it, so δ is not divided); the cheapest that passed is chosen.

    `costs` float64 [C]; `p_of` and `differences` are functions from rows intp [c] to p-values [c]
    and differences in [−1, 1] [c, N].
    """
    rows, seen, passed = np.arange(len(costs)), [np.zeros(0)], 0
    while passed < len(rows):
        p = p_of(rows[passed : passed + _BLOCK])
        good = np.logical_and.accumulate(p <= limits.delta)
        passed += int(good.sum())
        seen.append(p[: good.sum() + 1])
        if not good[-1]:
            break
    p_values, first = np.concatenate(seen), differences(rows[:1])
    chosen = int(costs[:passed].argmin()) if passed else None
    made = Certificate(len(rows), p_values, passed, first.shape[1], chosen)
    if passed or not len(rows):
        return made
    images = BOUNDS[limits.bound](first[0], limits.share, limits.delta)
    return replace(made, why=_why(first[0], float(p_values[0]), images, limits), images=images)


def _why(safest: np.ndarray, p: float, images: int | None, limits: Limits) -> str:
    lost = (safest > 0).mean() if limits.bound == "binomial" else safest.mean()
    much = f"{lost:.2%} of" if limits.loss is None else f"{lost * limits.largest:.4g} more on"
    found = (
        f"{SAFEST} loses {much} the {len(safest)} testing images (p = {p:.3g}, at most "
        f"{limits.delta:g} is needed)"
    )
    if images is None:
        return f"{found}: with such a loss more images do not help, a larger epsilon does"
    return f"{found}: about {images} testing images would do, or a larger epsilon"
