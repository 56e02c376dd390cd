"""Where a promise is missed: the λ that would keep it, and which figure left it first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from stages.cascade import ALWAYS, Cascade, Limit, Ordering, decide, votes
from stages.policy.checking import Allowance, fewer_each
from stages.policy.file import PolicyPromise
from stages.scores import VOTE_SHARE, ScoreSet

POINTS = 200  # at which the requests so far are looked at


@dataclass(frozen=True)
class RestoringLimit:
    """λ of A, with the interval in which every λ decides these images alike, and what it does to
    them, which chose it."""

    threshold: float | str | None
    threshold_low: float | None
    threshold_high: float | None
    accuracy: float
    usage: float


@dataclass(frozen=True)
class FirstLeft:
    """The figure that was worse than promised first, by the test of `check`, and after how many of
    the requests in their order."""

    figure: str
    requests: int


def restoring(
    scores: ScoreSet, cascade: Cascade, promise: PolicyPromise, allow: Allowance
) -> RestoringLimit | None:
    """The λ of a cascade of two stages that keeps accuracy and use of B, with the least use; of a
    last stage that is no model the accuracy of what is answered. None where none does, or there are
    more stages, or one."""
    if len(cascade.stages) != 2:
        return None
    first, last = cascade.stages
    always = replace(cascade, stages=(replace(first, limit=Limit(ALWAYS)), last))
    a, right_b = scores.index(first.model), decide(scores, always).correct
    if first.beside:
        rows = [scores.index(name) for name in first.members]
        answer, sure = votes(scores.predictions[rows])
        right_a, ordering = answer == scores.labels, Ordering.of(VOTE_SHARE, sure)
    else:
        right_a = scores.correct[a]
        ordering = Ordering.by(scores, str(first.score), a)
    gain = right_b.astype(np.int64) - right_a
    right = int(right_a.sum()) + np.concatenate(([0], gain[ordering.order].cumsum()))
    n, ends = len(right_a), ordering.ends
    answered = np.full(len(ends), n) if cascade.nobody is None else n - ends
    accuracy, usage = right[ends] / np.maximum(answered, 1), ends / n
    kept = accuracy >= allow.least_accuracy(promise.right / max(promise.answered, 1))
    kept &= usage <= allow.most_use(promise.escalated / promise.images)
    if not kept.any():
        return None
    i = int(kept.argmax())
    limit = ordering.limit(int(ends[i]))
    return RestoringLimit(
        limit.threshold, limit.low, limit.high, float(accuracy[i]), float(usage[i])
    )


def first_left(
    scores: ScoreSet, cascade: Cascade, promise: PolicyPromise, allow: Allowance, alpha: float
) -> FirstLeft | None:
    """Of accuracy and use of B, over the images in their order; each look is a test of its own, so
    it tells where to look and is no alarm."""
    outcome, images, n = decide(scores, cascade), promise.images, len(scores.labels)
    at = np.unique(np.linspace(1, n, min(n, POINTS)).astype(int))
    answered = (~outcome.unanswered).cumsum()[at - 1]
    least = int(allow.least_accuracy(promise.right / max(promise.answered, 1)) * promise.answered)
    most = min(images, ceil(allow.most_use(promise.escalated / images) * images))
    accuracy = "accuracy" if cascade.nobody is None else "answered_accuracy"
    usage = "abstained" if cascade.nobody and len(cascade.stages) == 2 else "usage"
    counts = {
        accuracy: (outcome.correct.cumsum()[at - 1], answered, least, promise.answered),
        usage: ((~outcome.escalated).cumsum()[at - 1], at, images - most, images),
    }
    found = []
    for name, (count, of, before, promised) in counts.items():
        left = fewer_each(count, of, before, promised) <= alpha / len(counts)
        if left.any():
            found.append(FirstLeft(name, int(at[left.argmax()])))
    return min(found, key=lambda one: one.requests, default=None)
