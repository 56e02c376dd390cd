"""Does a deployed cascade still do what its policy promised? Tests at a stated rate of alarms.

The policy holds counts, not answers, so promise and finding are two samples, each with its own
error; where they are of the same images, a paired test would see smaller losses. Under "nothing got
worse" the chance that any test fails is at most α (Holm 1979): exactly so for accuracy and use
(Fisher's one-sided test holds at every size), by the normal approximation for a changed cost, and
nearly so where λ was cross-fitted on the promised images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, hypot, isclose
from typing import Any

import numpy as np

from cache import InputError
from stages.costs import StagePrice
from stages.policy.file import Deployment, ModelFacts, PolicyPromise
from stages.policy.format import dotted, shown_value
from stages.search import CANNOT_TELL, MEETS, MISSES
from stages.simulate import NobodyFigures, SimulatedCascade
from stages.statistics import NORMAL

Told = tuple[str, Any, Any]  # key, what a policy says, what the cache says
_FACTS = ("weights_sha256", "parameters", "macs", "classes", "preprocessing")
_EXACT = 1e-9  # what rounding may take of a count
FISHER, NORMAL_TEST = "Fisher's exact test", "normal approximation"


@dataclass(frozen=True)
class Allowance:
    """How much worse than promised is as promised still: of accuracy by points, of the use of later
    stages by points and by a share of what was promised, of cost and loss by such a share."""

    accuracy: float = 0.0
    use: float = 0.0
    use_share: float = 0.0
    cost_share: float = 0.0
    loss_share: float = 0.0

    def least_accuracy(self, promised: float) -> float:
        return promised - self.accuracy

    def most_use(self, promised: float) -> float:
        return promised * (1 + self.use_share) + self.use

    def most_cost(self, promised: float) -> float:
        return promised * (1 + self.cost_share)

    def most_loss(self, promised: float) -> float:
        return promised * (1 + self.loss_share)


@dataclass(frozen=True)
class Checked:
    """One figure: promised, found, and the chance `p` of such a loss where nothing got worse than
    `allowed`, None where it could not be tested, and `test` says why; `implied_by` names the figure
    whose test is this one's, too. `worse` is Holm's decision."""

    name: str
    promised: float
    found: float | None
    p: float | None
    test: str
    implied_by: str | None = None
    worse: bool = False
    allowed: float | None = None


def check(
    promise: PolicyPromise,
    row: SimulatedCascade,
    alpha: float = 0.05,
    allow: Allowance = Allowance(),
) -> list[Checked]:
    """Accuracy, use of B, and cost where one was promised; where the last stage is no model the
    accuracy of what is answered, the share that is not, and the loss. `row` as `simulate` gives it.
    """
    if not 0 < alpha < 1:
        raise InputError(f"--alpha {alpha}: give a rate of false alarms between 0 and 1")
    sent = [("usage", promise.escalated, row.escalated)]
    if promise.escalated_2 is not None and row.escalated_2 is not None:
        sent.append(("usage_2", promise.escalated_2, row.escalated_2))
    if promise.left is not None:  # of the last that is sent on
        sent[-1] = ("abstained", *sent[-1][1:])
    uses = [_usage(name, counts, (promise.images, row.n), allow) for name, *counts in sent]
    found = [_accuracy(promise, row, allow), *uses]
    if promise.left is not None:
        found.append(_loss(promise.left, row.unanswered, allow))
    if promise.price is not None:
        found.append(_cost(promise, promise.price, row, uses[0], allow))
    return _holm(found, alpha)


def not_compared(deployed: Deployment, contents: Sequence[str]) -> str | None:
    """Why `check_unedited` cannot be asked with scores of these digests, None where it can."""
    names = [model.name for model in deployed.models]
    if not deployed.scores:
        return "it does not name them"
    if contents != [deployed.scores.get(name) for name in names]:
        return "those checked on are others"
    # The answers hang on the batches, which only the promise of a cost tells.
    return None if deployed.memory is None else "a memory answers by how they were batched"


def check_unedited(
    deployed: Deployment, models: Sequence[ModelFacts], row: SimulatedCascade
) -> None:
    """InputError where a policy says otherwise than the very scores that it was made from.

    `models` as `model_facts` tells them, `row` as `simulate`, without a memory, gives it.
    """
    for key, stated, found in _told_twice(deployed, models, row):
        if stated != found and None not in (stated, found):
            raise InputError(
                f"{deployed.where}: {key} is {shown_value(stated)}, expected {shown_value(found)} "
                "of the scores it was made from: it was edited; export it again"
            )


def _told_twice(
    deployed: Deployment, models: Sequence[ModelFacts], row: SimulatedCascade
) -> Iterator[Told]:
    """What folds decided is not this λ's, and not compared."""
    for i, pair in enumerate(zip(deployed.models, models, strict=True)):
        facts = [{key: getattr(each, key) for key in _FACTS} for each in pair]
        stated, known = (dict(dotted(each, f"models[{i}]")) for each in facts)
        yield from ((key, value, known.get(key)) for key, value in stated.items())
    if deployed.fitted == "hold-out":  # of a part of these images, which nobody tells apart
        return
    alone = ("accuracy_1", "accuracy_2", "accuracy_3")
    found = {"images": row.n} | {name: getattr(row, name) for name in alone}
    if deployed.fitted != "cross-fit":
        found |= {"right": round(row.accuracy.value * row.n), "escalated": row.escalated}
        found |= {"escalated_2": row.escalated_2}
    for key, value in found.items():
        yield f"promise.{key}", getattr(deployed.promise, key), value
    left = deployed.promise.left
    if left is not None:
        yield "promise.unanswered", left.unanswered, row.unanswered.unanswered


def target_of(figures: Sequence[Checked]) -> str:
    """MISSES where any figure is significantly worse; else CANNOT TELL where one that was promised
    could not be tested."""
    if any(each.worse for each in figures):
        return MISSES
    return CANNOT_TELL if any(each.p is None for each in figures) else MEETS


def fewer(count: int, n: int, before: int, n_before: int) -> float:
    """p-value of "the share did not fall": P(so few or fewer of the n), given both counts' sum.

    >>> fewer(0, 3, 3, 3)
    0.05
    """
    return float(fewer_each(np.array([count]), np.array([n]), before, n_before)[0])


def fewer_each(count: np.ndarray, n: np.ndarray, before: int, n_before: int) -> np.ndarray:
    """The same of many counts int [T], each of `n` int [T]."""
    from scipy.stats import hypergeom

    return np.asarray(hypergeom.cdf(count, n + n_before, count + before, n), np.float64)


def _accuracy(promise: PolicyPromise, row: SimulatedCascade, allow: Allowance) -> Checked:
    """What is allowed counts as promised: so many fewer of its images were right. Of what no model
    answers none is told."""
    left, name = promise.left, "accuracy" if promise.left is None else "answered_accuracy"
    told = promise.accuracy if left is None else left.answered_accuracy
    images = promise.answered
    n = row.n - (row.unanswered.unanswered or 0)
    if not images or not n:
        return Checked(name, promise.right / max(images, 1), None, None, "nothing was answered")
    right, share = round(row.accuracy.value * row.n), promise.right / images
    promised = share if told is None else told.value
    before = max(0, floor(allow.least_accuracy(share) * images + _EXACT))
    p = fewer(right, n, before, images)
    allowed = allow.least_accuracy(promised) if allow.accuracy else None
    found = row.accuracy.value if left is None else right / n
    return Checked(name, promised, found, p, FISHER, allowed=allowed)


def _usage(name: str, counts: Sequence[int], images: tuple[int, int], allow: Allowance) -> Checked:
    """More use of a later model is fewer requests that end before it. The counts and the images
    are those promised and those found."""
    (before, sent), (promised, n) = counts, images
    most = allow.most_use(before / promised)
    kept = promised - min(promised, ceil(most * promised - _EXACT))
    p = fewer(n - sent, n, kept, promised)
    allowed = most if allow.use or allow.use_share else None
    return Checked(name, before / promised, sent / n, p, FISHER, allowed=allowed)


def _loss(promised: NobodyFigures, found: NobodyFigures, allow: Allowance) -> Checked:
    """Of an error, an abstention or a person's answer alike."""
    before, now = promised.loss, found.loss
    if before is None or now is None or promised.loss_name != found.loss_name:
        why = f"{promised.loss_name or 'the loss'} is not known here"
        return Checked("loss", before.value if before else 0.0, None, None, why)
    most = allow.most_loss(before.value)
    p = _above(now.value - most, hypot(before.high - before.value, now.high - now.value))
    allowed = most if allow.loss_share else None
    return Checked("loss", before.value, now.value, p, NORMAL_TEST, allowed=allowed)


def _cost(
    promise: PolicyPromise,
    price: StagePrice,
    row: SimulatedCascade,
    usage: Checked,
    allow: Allowance,
) -> Checked:
    """Where both models cost what they did, a request costs more only as B runs more often."""
    before, now = price.known, row.price.cost
    same = now is not None and isclose(now.value, before.value, rel_tol=1e-9)
    if now is None or row.price.cost_kind != price.cost_kind:
        what = f"{price.cost_kind} of both models are not known here"
        return Checked("cost", before.value, None, None, row.memory.hash_reason or what)
    most = allow.most_cost(before.value)
    alike = promise.memory is None and promise.escalated_2 is None and _close(price, row.price)
    if alike and allow == Allowance():
        return Checked("cost", before.value, now.value, usage.p, FISHER, usage.name)
    error = hypot(before.high - before.value, now.high - now.value)
    p = _above(0.0 if same else now.value - most, error)
    allowed = most if allow.cost_share else None
    return Checked("cost", before.value, now.value, p, NORMAL_TEST, allowed=allowed)


def _close(one: StagePrice, other: StagePrice) -> bool:
    """Whether all models cost the same alone."""
    pairs = ((one.cost_1, other.cost_1), (one.cost_2, other.cost_2))
    return all(isclose(a or 0.0, b or 0.0, rel_tol=1e-9) for a, b in pairs)


def _above(difference: float, half: float) -> float:
    """One-sided p-value of a difference with this 95 % half-width."""
    from scipy.stats import norm

    if not half:
        return 0.0 if difference > 0 else 1.0
    return float(norm.sf(difference * NORMAL / half))


def _holm(figures: list[Checked], alpha: float) -> list[Checked]:
    """Smallest p-value first, each against α over how many are left, until one passes."""
    tested = [each for each in figures if each.p is not None and each.implied_by is None]
    worse: set[str] = set()
    for left, each in zip(
        range(len(tested), 0, -1), sorted(tested, key=lambda one: one.p or 0.0), strict=True
    ):
        if each.p is None or each.p > alpha / left:
            break
        worse.add(each.name)
    return [replace(each, worse=(each.implied_by or each.name) in worse) for each in figures]
