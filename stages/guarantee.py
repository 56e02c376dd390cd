"""A certified cascade out of all pairs and rules: the part of the calibration images that proposes
narrows them down to those on its frontier, and picks the reference; the rest only test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cache import Store
from cache.errors import one_of
from stages.allpairs import Costs, Rule
from stages.certify import Certificate, Limits, check_calibration
from stages.certify_sweeps import Deployment, certify_sweeps, parts
from stages.fitting import FitPlan, trained_splits
from stages.found import Found, Space, find
from stages.operating import Limit, OperatingPoint
from stages.proposing import Sweep
from stages.repeats import keys_of
from stages.rule import NEVER
from stages.score import ScoreSet
from stages.scores import named
from stages.sweep import Ordering, gains


@dataclass(frozen=True)
class Promise:
    """What is to be certified, against a model alone; None is the most accurate single model on the
    proposing images."""

    limits: Limits
    reference: str | None = None


@dataclass(frozen=True)
class Certified:
    """What came of it: `point` and `deployment` are None where nothing passed, and `safest` is
    then the first that was tested."""

    promise: Promise
    reference: str
    proposing: int
    certificate: Certificate
    point: OperatingPoint | None
    deployment: Deployment | None
    safest: OperatingPoint | None = None

    def about(self) -> dict[str, Any]:
        """Flat fields, for JSON."""
        limits, made = self.promise.limits, self.certificate
        out = {
            "feasible": made.feasible,
            "epsilon": limits.epsilon,
            "delta": limits.delta,
            "bound": limits.bound,
            "reference": self.reference,
            "max_usage": limits.usage,
            "max_cost": limits.cost,
            "proposing": self.proposing,
            "testing": made.n_test,
            "candidates": len(made.order),
            "tested": len(made.p_values),
            "passed": made.passed,
            "why": made.why,
            "images_needed": made.images,
        }
        estimates = ("usage", "cost", "lost", "difference")
        return out | {name: getattr(self.deployment, name, None) for name in estimates}


def guarantee(
    store: Store, scores: ScoreSet, costs: Costs, space: Space, promise: Promise
) -> Certified:
    """Certify on these images, which no model may have seen and none of which may repeat."""
    check_calibration(scores.split, keys_of(store, scores), trained_splits(store, scores))
    proposing, _ = parts(len(scores.labels))
    part = scores.of_images(proposing)
    reference = promise.reference or part.models[int(part.accuracy.argmax())]
    if reference not in scores.models:
        raise one_of("reference", reference, scores.models)
    narrowed = find(part, Costs.linear(costs.alone, len(proposing)), space)
    points = _shortlist(narrowed, reference)
    sweeps = _sweeps(scores, costs, points, reference)
    certificate, deployment = certify_sweeps(sweeps, promise.limits)
    about = (promise, reference, len(proposing), certificate)
    if deployment is None:
        sweep, threshold = certificate.safest or (0, NEVER)
        return Certified(*about, None, None, _point(points[sweep], (threshold, None, None)))
    limit = (deployment.threshold, deployment.low, deployment.high)
    return Certified(*about, _point(points[deployment.sweep], limit), deployment)


def _point(tried: Tried, limit: Limit) -> OperatingPoint:
    models, rule = tried
    if rule is None:
        return OperatingPoint(models)
    return OperatingPoint(models, rule.score, rule.postcheck, (limit,))


def calibrating(plan: FitPlan) -> FitPlan:
    """The plan of a certificate, which cuts its images in two by itself instead of cross-fitting:
    what it promises holds for new images, what is reported on the same ones is optimistic."""
    if plan.method != "cross-fit":
        return plan
    note = f"certified and reported on the same images of {plan.split}: what is reported flatters"
    return replace(plan, method="same-split", notes=(note, *plan.notes[1:]))


Tried = tuple[tuple[str, ...], "Rule | None"]


def _shortlist(found: Found, reference: str) -> list[Tried]:
    """The reference alone, which loses nothing, the pairs and rules on the frontier, and beside
    each the pair that hands over to the reference."""
    tried: dict[Tried, None] = {((reference,), None): None}
    for point in found.points:
        rule = None if point.score is None else Rule(point.score, point.postcheck)
        tried[point.models, rule] = None
        if rule and point.models[0] != reference:
            tried[(point.models[0], reference), replace(rule, postcheck=False)] = None
    return list(tried)


def _sweeps(scores: ScoreSet, costs: Costs, tried: Sequence[Tried], reference: str) -> list[Sweep]:
    """Every λ of each; sweeps of one first model and score share its ordering."""
    wanted = scores.correct[scores.index(reference)]
    orderings: dict[tuple[int, str | None], Ordering] = {}
    out = []
    for models, rule in tried:
        a, b = scores.index(models[0]), scores.index(models[-1])
        key = (a, rule.score if rule else None)
        if key not in orderings:
            # One model has no λ: its images stay together.
            sure = scores.score(rule.score, a) if rule else np.zeros(len(wanted))
            orderings[key] = Ordering.of(named(rule.score if rule else "maxp"), sure)
        final = _final(scores, a, b, rule)
        prices = (float(costs.alone[a]), float(costs.alone[b]) if rule else 0.0)
        lossless = math.inf
        if models[-1] == reference and not (rule and rule.postcheck):
            lossless = sum(prices)
        out.append(Sweep.of(orderings[key], scores.correct[a], final, wanted, prices, lossless))
    return out


def _final(scores: ScoreSet, a: int, b: int, rule: Rule | None) -> np.ndarray:
    """bool [N]: the answer is right once B has run."""
    if rule is None:
        return scores.correct[a]
    s_a, s_b = scores.score(rule.score, a), scores.score(rule.score, b)
    right_a, right_b = scores.correct[a], scores.correct[b]
    gain = gains(named(rule.score), right_a, right_b, s_a, s_b, rule.postcheck)
    return (right_a.view(np.int8) + gain).astype(bool)
