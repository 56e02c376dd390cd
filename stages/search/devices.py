"""Two devices, one question: does the best cascade change, and what does a wrong choice cost?

For each device the cheapest cascade that is accurate enough on the fitting images is chosen, and
each choice is then priced on every device with its requests to B on the reported images. Where
these are the same images, folds decided by the choice of the others say how accurate it is. Nothing
runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from cache import InputError
from stages.cascade import Ordering, decide, pair_gains, prefix
from stages.costs import Pricer, Prices, costs_of
from stages.scores import LABEL_FREE, ScoreSet
from stages.search.crossfit import cross_fitted
from stages.search.fitted_frontier import Found, Space, find
from stages.search.pairs import rules
from stages.search.question import ACCURACY, MATCH, Question
from stages.simulate import share_of
from stages.statistics import with_ends
from stages.threshold import FitPlan, all_pairs, cascade_of

Row = dict[str, Any]
EVERY_RULE = Space(tuple(rules(LABEL_FREE)))


def compare_devices(
    reported: ScoreSet,
    plan: FitPlan,
    prices: dict[str, Prices],
    min_accuracy: float | None = None,
    batch_size: int = 1,
    space: Space = EVERY_RULE,
) -> list[Row]:
    """One row per device: its cheapest cascade, a pair of the space, with at least `min_accuracy`
    on the fitting images.

    By default that is the accuracy of the best single model there, which a cascade always has.
    `accuracy` has its 95 % interval; `costs` are per request by device, `excess` the cost over that
    device's own choice, as a fraction. InputError where no cascade is accurate enough.
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
    found = []
    for device in prices:
        chosen = min(
            zip(rows, expected, strict=True),
            key=lambda each: (each[1][device], -each[0]["fit_accuracy"]),
        )
        found.append({"device": device, **chosen[0]})
    costs = _costs(found, reported, prices, batch_size)
    for row, each in zip(found, costs, strict=True):
        row |= _reported(row, reported) | {"costs": each}
        if plan.method == "cross-fit":
            pricer = Pricer(reported, prices[row["device"]], batch_size)
            row |= _honest(reported, pricer, min_accuracy, space)
    own = {row["device"]: row["costs"][row["device"]] for row in found}
    for row in found:
        row["excess"] = {device: cost / own[device] - 1 for device, cost in row["costs"].items()}
    return found


def priced_everywhere(rows: Sequence[Row]) -> Iterator[Row]:
    """The same as a table: a row per choice and device that it is priced on."""
    for row in rows:
        own = {key: value for key, value in row.items() if key not in ("costs", "excess")}
        for device, cost in row["costs"].items():
            yield own | {"priced_on": device, "cost": cost, "excess": row["excess"][device]}


def candidates(scores: ScoreSet, target: float, space: Space = EVERY_RULE) -> list[Row]:
    """For each pair, score and rule the λ with the least use of B that reaches the target."""
    rows = []
    needed = int(np.ceil(target * len(scores.labels) - 1e-9))
    for name, table in groupby(space.table, lambda rule: rule.score):
        checks = [rule.postcheck for rule in table]
        orderings = [Ordering.by(scores, name, m) for m in range(len(scores.models))]
        for a, b in all_pairs(scores.models):
            for postcheck in checks:
                row = _first_reaching(scores, orderings[a], (a, b), postcheck, needed)
                rows += [row] if row else []
    return rows


def _first_reaching(
    scores: ScoreSet, ordering: Ordering, pair: tuple[int, int], postcheck: bool, needed: int
) -> Row | None:
    a, b = pair
    name = ordering.score.name
    gain = pair_gains(scores, name, a, b, postcheck)
    right = int(scores.correct[a].sum()) + prefix(ordering, gain)[ordering.ends]
    enough = right >= needed
    if not enough.any():
        return None
    first = int(enough.argmax())
    k = int(ordering.ends[first])
    return {
        "model_1": scores.models[a],
        "model_2": scores.models[b],
        "score": name,
        "postcheck": postcheck,
        "threshold": ordering.limit(k).threshold,
        "fit_accuracy": int(right[first]) / len(scores.labels),
        "fit_usage": k / len(scores.labels),
    }


def _reported(row: Row, reported: ScoreSet) -> Row:
    outcome = decide(reported, cascade_of(row))
    accuracy = share_of(outcome.correct, reported.sample_ids)
    return {**with_ends("accuracy", accuracy), "usage": outcome.usage()}


def _honest(reported: ScoreSet, pricer: Pricer, min_accuracy: float | None, space: Space) -> Row:
    """The accuracy of folds, each decided by what is the cheapest on the others."""
    question = Question(MATCH) if min_accuracy is None else Question(ACCURACY, min_accuracy)

    def search(scores: ScoreSet) -> Found:
        return find(scores, costs_of(pricer, scores.models, len(scores.labels)), space)

    found = cross_fitted(reported, search, question, np.empty(0))
    return with_ends("accuracy", found.answer.accuracy)


def _costs(
    rows: Sequence[Row], scores: ScoreSet, prices: dict[str, Prices], batch_size: int
) -> list[dict[str, float]]:
    """Cost per request by device, in the sub-batches that B would see."""
    pricers = {device: Pricer(scores, each, batch_size) for device, each in prices.items()}
    found = []
    for row in rows:
        stage = decide(scores, cascade_of(row)).stage
        pair = (row["model_1"], row["model_2"])
        found.append({d: pricer.request(pair, stage).value for d, pricer in pricers.items()})
    return found
