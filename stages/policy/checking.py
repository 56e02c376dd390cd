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
from math import hypot, isclose
from typing import Any

from cache import InputError
from stages.costs import StagePrice
from stages.policy.file import Deployment, ModelFacts, PolicyPromise
from stages.policy.format import dotted, shown_value
from stages.search import CANNOT_TELL, MEETS, MISSES
from stages.simulate import SimulatedCascade
from stages.statistics import NORMAL

Told = tuple[str, Any, Any]  # key, what a policy says, what the cache says
_FACTS = ("weights_sha256", "parameters", "macs", "classes", "preprocessing")
FISHER, NORMAL_TEST = "Fisher's exact test", "normal approximation"


@dataclass(frozen=True)
class Checked:
    """One figure: promised, found, and the chance `p` of such a loss where nothing got worse, None
    where it could not be tested, and `test` says why; `implied_by` names the figure whose test is
    this one's, too. `worse` is Holm's decision."""

    name: str
    promised: float
    found: float | None
    p: float | None
    test: str
    implied_by: str | None = None
    worse: bool = False


def check(promise: PolicyPromise, row: SimulatedCascade, alpha: float = 0.05) -> list[Checked]:
    """Accuracy, use of B, and cost where one was promised; `row` as `simulate` gives it."""
    if not 0 < alpha < 1:
        raise InputError(f"--alpha {alpha}: give a rate of false alarms between 0 and 1")
    found = [_accuracy(promise, row), _usage(promise, row)]
    if promise.escalated_2 is not None and row.escalated_2 is not None:
        found.append(_usage_2(promise.escalated_2, promise.images, row.escalated_2, row.n))
    if promise.price is not None:
        found.append(_cost(promise, promise.price, row, found[1]))
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
    from scipy.stats import hypergeom

    return float(hypergeom.cdf(count, n + n_before, count + before, n))


def _accuracy(promise: PolicyPromise, row: SimulatedCascade) -> Checked:
    found, right = row.accuracy.value, round(row.accuracy.value * row.n)
    p = fewer(right, row.n, promise.right, promise.images)
    told = promise.accuracy
    promised = promise.right / promise.images if told is None else told.value
    return Checked("accuracy", promised, found, p, FISHER)


def _usage(promise: PolicyPromise, row: SimulatedCascade) -> Checked:
    """More use of B is fewer requests that end with A."""
    n, sent, before, images = row.n, row.escalated, promise.escalated, promise.images
    p = fewer(n - sent, n, images - before, images)
    return Checked("usage", before / images, sent / n, p, FISHER)


def _usage_2(before: int, images: int, sent: int, n: int) -> Checked:
    """The same of C."""
    p = fewer(n - sent, n, images - before, images)
    return Checked("usage_2", before / images, sent / n, p, FISHER)


def _cost(
    promise: PolicyPromise, price: StagePrice, row: SimulatedCascade, usage: Checked
) -> Checked:
    """Where both models cost what they did, a request costs more only as B runs more often."""
    before, now = price.known, row.price.cost
    same = now is not None and isclose(now.value, before.value, rel_tol=1e-9)
    if now is None or row.price.cost_kind != price.cost_kind:
        what = f"{price.cost_kind} of both models are not known here"
        return Checked("cost", before.value, None, None, row.memory.hash_reason or what)
    if promise.memory is None and promise.escalated_2 is None and _close(price, row.price):
        return Checked("cost", before.value, now.value, usage.p, FISHER, "usage")
    error = hypot(before.high - before.value, now.high - now.value)
    p = _above(0.0 if same else now.value - before.value, error)
    return Checked("cost", before.value, now.value, p, NORMAL_TEST)


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
