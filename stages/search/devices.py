"""Several devices, one question: does the best cascade change, and what does a wrong choice cost?

For each device the pair that answers the question on the fitting images is chosen, and each choice
is then priced on every device with its requests to B on the reported images; and one for all of
them, which keeps the limits of each. Where these are the same images, folds decided by the choice
of the others say how accurate it is. Nothing runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cache import InputError
from stages.cascade import Cascade, Outcome, decide
from stages.costs import ExpectedCosts, Pricer, Prices, costs_of
from stages.results import Row
from stages.scores import ScoreSet
from stages.search.best_pairs import BestOfEach
from stages.search.caps import Cap, caps_of
from stages.search.crossfit import Chosen, decided_by_folds
from stages.search.fitted_frontier import Space
from stages.search.pairs import deployable
from stages.search.question import ACCURACY, COST, MATCH, USAGE, Goal, Question
from stages.search.unreachable import in_one_line, nearest_to_each
from stages.search.verdict import word_of, worst
from stages.search.wording import asked_of
from stages.simulate import share_of
from stages.statistics import Interval
from stages.threshold import FitPlan

# How the choice for all devices is told.
ALL_DEVICES = "all"


@dataclass(frozen=True)
class DeviceCandidate:
    """A cascade that is accurate enough, and what it did on the fitting images."""

    cascade: Cascade
    fit_accuracy: float
    fit_usage: float


@dataclass(frozen=True, kw_only=True)
class DeviceChoice(Row):
    """A device's cheapest cascade: on the reported images its accuracy and use of B, `costs` per
    request by device, `excess` the cost over that device's own choice, as a fraction, and `target`
    whether it does what was asked of it, by the intervals of these."""

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
    target: str


def compare_devices(
    reported: ScoreSet,
    plan: FitPlan,
    prices: Mapping[str, Prices],
    questions: Mapping[str, Question],
    batch_size: int = 1,
    space: Space = Space(),
) -> list[DeviceChoice]:
    """One row per device: the pair of the space that answers its question on the fitting images;
    and where one keeps the limits of all of them, one more, ALL_DEVICES: the one whose largest
    excess over a device's own choice is least, or the most accurate, as asked.

    InputError where on a device nothing does.
    """
    everywhere = _Devices(plan.split, plan.scores, prices, questions, batch_size, space)
    chosen = {device: everywhere.choice(device) for device in prices}
    shared = everywhere.for_all(chosen)
    if shared is not None:
        chosen[ALL_DEVICES] = shared
    each = list(chosen.values())
    pricers = {d: Pricer(reported, found, batch_size) for d, found in prices.items()}
    costs = dict(zip(chosen, _costs(each, reported, prices, batch_size), strict=True))
    own = {device: costs[device][device] for device in prices}
    found = []
    for device, point in chosen.items():
        outcome = decide(reported, point.cascade)
        told = share_of(outcome.correct, reported.sample_ids)
        if plan.method == "cross-fit":
            told = _honest(reported, prices, questions, device, batch_size, space)
        (first, second), [limit] = point.cascade.models, point.cascade.limits
        own_places = list(prices) if device == ALL_DEVICES else [device]
        asked = [(goal, pricers[d]) for d in own_places for goal in questions[d].goals]
        found.append(
            DeviceChoice(
                device=device,
                model_1=first,
                model_2=second,
                score=str(point.cascade.score),
                postcheck=point.cascade.postcheck,
                threshold=limit.threshold,
                fit_accuracy=point.fit_accuracy,
                fit_usage=point.fit_usage,
                accuracy=told,
                usage=outcome.usage(),
                costs=costs[device],
                excess={name: cost / own[name] - 1 for name, cost in costs[device].items()},
                target=_target(asked, reported, outcome, told, point.cascade),
            )
        )
    return found


def priced_everywhere(rows: Sequence[DeviceChoice]) -> Iterator[dict[str, object]]:
    """The same as a table: a row per choice and device that it is priced on."""
    for row in rows:
        own = row.columns()
        for device, cost in own.pop("costs").items():
            yield own | {"priced_on": device, "cost": cost, "excess": row.excess[device]}


@dataclass(frozen=True)
class _Devices:
    """What each device is asked, on its own prices, of the same images, which are of `split`."""

    split: str
    scores: ScoreSet
    prices: Mapping[str, Prices]
    questions: Mapping[str, Question]
    batch_size: int
    space: Space

    def choice(self, device: str) -> DeviceCandidate:
        question, caps = self.questions[device], caps_of(self.questions[device], self.scores)
        rows = candidates(self.scores, question, self._costs(device), self.space, caps)
        if not rows:
            best = float(self.scores.accuracy.max())
            pricer = Pricer(self.scores, self.prices[device], self.batch_size)
            does = asked_of(question, pricer.prices.unit)
            near = nearest_to_each(question, self.scores, pricer, self.space)
            more = f"; {in_one_line(near)}" if question.several else ""
            raise InputError(
                f"no cascade on {device} {does} on {self.split}: ask for less; the best model "
                f"alone reaches {best:.2%}{more}"
            )
        costs = _costs(rows, self.scores, {device: self.prices[device]}, self.batch_size)
        spent = [each[device] for each in costs]
        wrong = [-row.fit_accuracy for row in rows]
        return rows[np.lexsort((wrong, spent) if question.cheapest else (spent, wrong))[0]]

    def for_all(self, chosen: Mapping[str, DeviceCandidate]) -> DeviceCandidate | None:
        """The one for all devices, whose own choices are `chosen`."""
        question = next(iter(self.questions.values()))
        caps = [cap for each in self.questions.values() for cap in caps_of(each, self.scores)]
        for device, each in self.questions.items():
            limits = [goal.number for goal in each.compared if goal.kind == COST]
            caps += [Cap(most, self._costs(device)) for most in limits]
        rows = candidates(self.scores, question, self._costs(next(iter(chosen))), self.space, caps)
        if not rows:
            return None
        spent = _costs(rows, self.scores, self.prices, self.batch_size)
        [*own] = _costs(list(chosen.values()), self.scores, self.prices, self.batch_size)
        least = {device: each[device] for device, each in zip(chosen, own, strict=True)}
        excess = [max(each[d] / least[d] for d in self.prices) for each in spent]
        wrong = [-row.fit_accuracy for row in rows]
        return rows[np.lexsort((wrong, excess) if question.cheapest else (excess, wrong))[0]]

    def _costs(self, device: str) -> ExpectedCosts:
        return costs_of(Pricer(self.scores, self.prices[device], self.batch_size), self.scores)


def candidates(
    scores: ScoreSet,
    question: Question,
    costs: ExpectedCosts,
    space: Space = Space(),
    caps: Sequence[Cap] = (),
) -> list[DeviceCandidate]:
    """For each pair, score and rule the λ that answers the question, of those that can."""
    n = len(scores.labels)
    points = BestOfEach(scores, costs, space.table, question, caps).answers()
    points = points.take(np.flatnonzero(points.second >= 0))
    made = deployable(scores, points, space.table)
    return [
        DeviceCandidate(cascade, right / n, k / n)
        for cascade, right, k in zip(made, points.right.tolist(), points.k.tolist(), strict=True)
    ]


def _target(
    asked: Sequence[tuple[Goal, Pricer]],
    reported: ScoreSet,
    found: Outcome,
    accuracy: Interval,
    cascade: Cascade,
) -> str:
    """Of all limits, each with the pricer of its device; the best model is matched where the
    cascade is as accurate."""
    words = []
    for goal, pricer in asked:
        if goal.kind == ACCURACY:
            words.append(word_of(goal, accuracy))
        elif goal.kind == MATCH:
            words.append(word_of(Goal(ACCURACY, float(reported.accuracy.max())), accuracy))
        elif goal.kind == USAGE:
            words.append(word_of(goal, share_of(found.escalated, reported.sample_ids)))
        else:
            priced = pricer if goal.pricer is None else goal.pricer.on(reported)
            words.append(word_of(goal, priced.request(cascade.models, found.stage)))
    return worst(words)


def _honest(
    reported: ScoreSet,
    prices: Mapping[str, Prices],
    questions: Mapping[str, Question],
    device: str,
    batch_size: int,
    space: Space,
) -> Interval:
    """The accuracy of folds, each decided by what is chosen on the others, or, where that is
    nothing, by the most accurate model."""
    wanted = list(prices) if device == ALL_DEVICES else [device]
    some = ({d: prices[d] for d in wanted}, {d: questions[d] for d in wanted})

    def choose(scores: ScoreSet) -> Chosen:
        everywhere = _Devices(reported.split, scores, *some, batch_size, space)
        best = int(scores.accuracy.argmax())
        try:
            chosen = {each: everywhere.choice(each) for each in wanted}
        except InputError:
            return [Cascade.of((scores.models[best],))], best
        shared = everywhere.for_all(chosen) if device == ALL_DEVICES else chosen[device]
        point = Cascade.of((scores.models[best],)) if shared is None else shared.cascade
        return [point], best

    return decided_by_folds(reported, choose)[0].accuracy


def _costs(
    rows: Sequence[DeviceCandidate],
    scores: ScoreSet,
    prices: Mapping[str, Prices],
    batch_size: int,
) -> list[dict[str, float]]:
    """Cost per request by device, in the sub-batches that B would see."""
    pricers = {device: Pricer(scores, each, batch_size) for device, each in prices.items()}
    found = []
    for row in rows:
        models, stage = row.cascade.models, decide(scores, row.cascade).stage
        found.append({d: pricer.request(models, stage).value for d, pricer in pricers.items()})
    return found
