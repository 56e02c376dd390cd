"""Two devices, one question: does the best cascade change, and what does a wrong choice cost?

For each device the cheapest cascade that is accurate enough on the fitting images is chosen, and
each choice is then priced on every device with its requests to B on the reported images. Where
these are the same images, folds decided by the choice of the others say how accurate it is. Nothing
runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from cache import InputError
from stages.cascade import Cascade, Ordering, decide, pair_gains, prefix
from stages.costs import Pricer, Prices, costs_of
from stages.results import Row
from stages.scores import ScoreSet
from stages.search.crossfit import cross_fitted
from stages.search.fitted_frontier import Found, Space, find
from stages.search.pairs import by_score
from stages.search.question import ACCURACY, MATCH, Question
from stages.simulate import share_of
from stages.statistics import Interval
from stages.threshold import FitPlan, all_pairs


@dataclass(frozen=True)
class DeviceCandidate:
    """A cascade that is accurate enough, and what it did on the fitting images."""

    cascade: Cascade
    fit_accuracy: float
    fit_usage: float


@dataclass(frozen=True, kw_only=True)
class DeviceChoice(Row):
    """A device's cheapest cascade: on the reported images its accuracy and use of B, `costs` per
    request by device, `excess` the cost over that device's own choice, as a fraction."""

    device: str
    model_1: str
    model_2: str
    score: str
    postcheck: bool
    threshold: float | str | None
    fit_accuracy: float
    fit_usage: float
    accuracy: Interval
    usage: float
    costs: dict[str, float]
    excess: dict[str, float]


def compare_devices(
    reported: ScoreSet,
    plan: FitPlan,
    prices: dict[str, Prices],
    min_accuracy: float | None = None,
    batch_size: int = 1,
    space: Space = Space(),
) -> list[DeviceChoice]:
    """One row per device: its cheapest cascade, a pair of the space, with at least `min_accuracy`
    on the fitting images.

    By default that is the accuracy of the best single model there, which a cascade always has.
    InputError where no cascade is accurate enough.
    """
    best = float(plan.scores.accuracy.max())
    target = best if min_accuracy is None else min_accuracy
    rows = candidates(plan.scores, target, space)
    if not rows:
        raise InputError(
            f"no cascade reaches {target:.2%} on {plan.split}: ask for less, or leave out "
            f"--min-accuracy for the {best:.2%} of the best model"
        )
    expected = _costs(rows, plan.scores, prices, batch_size)
    chosen = [
        min(
            zip(rows, expected, strict=True),
            key=lambda each: (each[1][device], -each[0].fit_accuracy),
        )[0]
        for device in prices
    ]
    costs = dict(zip(prices, _costs(chosen, reported, prices, batch_size), strict=True))
    own = {device: costs[device][device] for device in prices}
    found = []
    for device, each in zip(prices, chosen, strict=True):
        outcome = decide(reported, each.cascade)
        told = share_of(outcome.correct, reported.sample_ids)
        if plan.method == "cross-fit":
            pricer = Pricer(reported, prices[device], batch_size)
            told = _honest(reported, pricer, min_accuracy, space)
        (first, second), [limit] = each.cascade.models, each.cascade.limits
        found.append(
            DeviceChoice(
                device=device,
                model_1=first,
                model_2=second,
                score=str(each.cascade.score),
                postcheck=each.cascade.postcheck,
                threshold=limit.threshold,
                fit_accuracy=each.fit_accuracy,
                fit_usage=each.fit_usage,
                accuracy=told,
                usage=outcome.usage(),
                costs=costs[device],
                excess={name: cost / own[name] - 1 for name, cost in costs[device].items()},
            )
        )
    return found


def priced_everywhere(rows: Sequence[DeviceChoice]) -> Iterator[dict[str, object]]:
    """The same as a table: a row per choice and device that it is priced on."""
    for row in rows:
        own = row.columns()
        for device, cost in own.pop("costs").items():
            yield own | {"priced_on": device, "cost": cost, "excess": row.excess[device]}


def candidates(scores: ScoreSet, target: float, space: Space = Space()) -> list[DeviceCandidate]:
    """For each pair, score and rule the λ with the least use of B that reaches the target."""
    found, n = [], len(scores.labels)
    needed = int(np.ceil(target * n - 1e-9))
    for name, rows in by_score(space.table).items():
        orderings = [Ordering.by(scores, name, m) for m in range(len(scores.models))]
        for (a, b), row in product(all_pairs(scores.models), rows):
            ordering, rule = orderings[a], space.table[row]
            gained = prefix(ordering, pair_gains(scores, name, a, b, rule.postcheck))
            right = int(scores.correct[a].sum()) + gained[ordering.ends]
            for end in np.flatnonzero(right >= needed)[:1]:
                k = int(ordering.ends[end])
                cascade = rule.cascade((scores.models[a], scores.models[b]), ordering.limit(k))
                found.append(DeviceCandidate(cascade, int(right[end]) / n, k / n))
    return found


def _honest(
    reported: ScoreSet, pricer: Pricer, min_accuracy: float | None, space: Space
) -> Interval:
    """The accuracy of folds, each decided by what is the cheapest on the others."""
    question = Question(MATCH) if min_accuracy is None else Question(ACCURACY, min_accuracy)

    def search(scores: ScoreSet) -> Found:
        return find(scores, costs_of(pricer, scores), space)

    found = cross_fitted(reported, search, question, np.empty(0))
    return found.answer.accuracy


def _costs(
    rows: Sequence[DeviceCandidate], scores: ScoreSet, prices: dict[str, Prices], batch_size: int
) -> list[dict[str, float]]:
    """Cost per request by device, in the sub-batches that B would see."""
    pricers = {device: Pricer(scores, each, batch_size) for device, each in prices.items()}
    found = []
    for row in rows:
        models, stage = row.cascade.models, decide(scores, row.cascade).stage
        found.append({d: pricer.request(models, stage).value for d, pricer in pricers.items()})
    return found
