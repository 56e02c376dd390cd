"""The certified λ of every cascade against its own B alone, in one pass over each sweep.

An image that is lost to B alone once B has run (the post-check kept A's wrong answer) is lost where
A is trusted too: the 0/1 risk can only fall as λ sends more to B, so that nothing need be proposed
and all images test. A λ passes where at most a fixed number of images is lost: of the λ tested from
the safest on, those pass that lie before the first with more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cache import InputError, Store
from stages.cascade import Limit, Ordering
from stages.certify import Limits, binomial, check_calibration
from stages.hashes import image_keys
from stages.scores import ScoreSet
from stages.threshold import FitPlan, trained_splits

EPSILON, DELTA = 0.01, 0.1


@dataclass(frozen=True)
class Certifying:
    """`scores` of the images that certify, None where they cannot, with the reason in `why`; at
    most `allowed` of them may be lost, −1 where not even none would do."""

    limits: Limits
    scores: ScoreSet | None
    allowed: int
    why: str

    @classmethod
    def of(cls, store: Store, plan: FitPlan, limits: Limits) -> Certifying:
        """On the fitting images, which no model may have seen and none of which may repeat."""
        scores = plan.scores
        try:
            check_calibration(
                scores.split, image_keys(store, scores), trained_splits(store, scores)
            )
        except InputError as error:
            return cls(limits, None, -1, str(error))
        n = len(scores.labels)
        p = binomial(np.arange(n + 1), n, limits.epsilon)
        allowed = int(np.searchsorted(p, limits.delta, side="right")) - 1
        why = "" if allowed >= 0 else f"{n} images are too few for this promise"
        return cls(limits, scores, allowed, why)

    def limit(
        self, ordering: Ordering, correct_1: np.ndarray, correct_2: np.ndarray, gain: np.ndarray
    ) -> Limit | None:
        """The cheapest λ that passes, None where none does.

        Of the certifying images, bool [N]: A and B are right; int8 [N]: `gain` once B has run.
        """
        before = correct_2 & ~correct_1
        after = correct_2 & (correct_1 + gain == 0)
        falls = (before.view(np.int8) - after.view(np.int8))[ordering.order]
        lost = before.sum() - np.concatenate(([0], np.cumsum(falls, dtype=np.int64)))
        passing = lost[ordering.ends] <= self.allowed
        if not passing[-1]:
            return None
        return ordering.limit(int(ordering.ends[passing.argmax()]))
