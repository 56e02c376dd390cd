"""A certified cascade out of all pairs and rules: the part of the calibration images that proposes
narrows them down to those on its frontier, and picks the reference; the rest only test. The
reference alone loses nothing, so that only a cap on the cost can leave no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cache import Store, one_of
from stages.cascade import Cascade, Limit, Ordering, pair_gains
from stages.certify import (
    Candidates,
    Certificate,
    Limits,
    Sweep,
    candidates_of,
    certify_sweeps,
    check_calibration,
)
from stages.costs import ExpectedCosts
from stages.hashes import image_keys
from stages.scores import ScoreSet, named
from stages.search.fitted_frontier import Found, Space, find
from stages.search.pairs import SearchRule
from stages.threshold import parts, trained_splits


@dataclass(frozen=True)
class Promise:
    """What is to be certified, against a model alone; None is the most accurate single model on the
    proposing images, or the one that loses least. The limits are of the scores' own loss."""

    limits: Limits
    reference: str | None = None


@dataclass(frozen=True, kw_only=True)
class CertificateFacts:
    """What was promised and tested; the last four are estimates on the testing images, None where
    nothing passed."""

    feasible: bool
    epsilon: float
    delta: float
    bound: str
    reference: str
    max_usage: float | None
    max_cost: float | None
    proposing: int
    testing: int
    candidates: int
    tested: int
    passed: int
    why: str | None
    images_needed: int | None
    usage: float | None
    cost: float | None
    lost: float | None
    difference: float | None


@dataclass(frozen=True)
class Certified:
    """What came of it. Where nothing passed, `safest` is what was tested first, and `point` is the
    reference alone, or None where a cap excludes that too."""

    facts: CertificateFacts
    certificate: Certificate
    point: Cascade | None
    safest: Cascade | None


def guarantee(
    store: Store, scores: ScoreSet, costs: ExpectedCosts, space: Space, promise: Promise
) -> Certified:
    """Certify on these images, which no model may have seen and none of which may repeat."""
    check_calibration(scores.split, image_keys(store, scores), trained_splits(store, scores))
    return Shortlist.of(scores, costs, space, promise.reference).certified(promise)


Tried = tuple[tuple[str, ...], "SearchRule | None"]


@dataclass(frozen=True)
class Shortlist:
    """What the `proposing` images leave to be tested: models and rule of each of `tried` [S],
    and all its λ on all images, `sweeps` [S]."""

    reference: str
    proposing: int
    tried: Sequence[Tried]
    sweeps: Sequence[Sweep]

    @classmethod
    def of(
        cls,
        scores: ScoreSet,
        costs: ExpectedCosts,
        space: Space,
        reference: str | None = None,
        proposing: np.ndarray | None = None,
    ) -> Shortlist:
        """`proposing`: intp, which of the images; by default the part that `certified` leaves
        out."""
        if proposing is None:
            proposing, _ = parts(len(scores.labels))
        part = scores.of_images(proposing)
        reference = reference or part.models[int(part.credit.sum(axis=1).argmax())]
        if reference not in scores.models:
            raise one_of("reference", reference, scores.models)
        tried = _tried(find(part, costs.of_images(proposing), space), reference)
        return cls(reference, len(proposing), tried, _sweeps(scores, costs, tried, reference))

    def candidates(self, limits: Limits) -> tuple[Candidates, np.ndarray, list[Cascade]]:
        """Where all images propose what others test, in that order: the candidates, the most use of
        B that the caps allow each, float64 [C], and each as a cascade."""
        found, caps = candidates_of(self.sweeps, limits)
        each = zip(found.sweep.tolist(), found.cuts, strict=True)
        return found, caps, [self._point(s, self._limit(s, cut)) for s, cut in each]

    def _limit(self, sweep: int, cut: np.ndarray) -> Limit:
        ordering = self.sweeps[sweep].ordering
        return ordering.limit(int(ordering.escalated_by(cut)))

    def certified(self, promise: Promise) -> Certified:
        limits = promise.limits
        made, found = certify_sweeps(self.sweeps, limits)
        facts = CertificateFacts(
            feasible=found is not None,
            epsilon=limits.epsilon,
            delta=limits.delta,
            bound=limits.bound,
            reference=self.reference,
            max_usage=limits.usage,
            max_cost=limits.cost,
            proposing=self.proposing,
            testing=made.n_test,
            candidates=made.candidates,
            tested=len(made.p_values),
            passed=made.passed,
            why=made.why,
            images_needed=made.images,
            usage=None if found is None else found.usage,
            cost=None if found is None else found.cost,
            lost=None if found is None else found.lost,
            difference=None if found is None else found.difference,
        )
        point = None if found is None else self._point(found.sweep, found.limit)
        safest = None if made.safest is None else self._point(*made.safest)
        return Certified(facts, made, point, safest)

    def _point(self, sweep: int, limit: Limit) -> Cascade:
        models, rule = self.tried[sweep]
        return Cascade.of(models) if rule is None else rule.cascade(models, limit)


def _tried(found: Found, reference: str) -> list[Tried]:
    """The reference alone, which loses nothing, the models, pairs and rules on the frontier, and
    beside each pair the one that hands over to the reference."""
    tried: dict[Tried, None] = {((reference,), None): None}
    for point in found.points:
        rule = None if point.score is None else SearchRule(point.score, point.postcheck)
        tried[point.models, rule] = None
        if rule and point.models[0] != reference:
            tried[(point.models[0], reference), replace(rule, postcheck=False)] = None
    return list(tried)


def _sweeps(
    scores: ScoreSet, costs: ExpectedCosts, tried: Sequence[Tried], reference: str
) -> list[Sweep]:
    """Every λ of each; sweeps of one first model and score share its ordering."""
    wanted, most = scores.credit[scores.index(reference)], 1
    if scores.loss is not None:
        most = scores.loss.most
    orderings: dict[tuple[int, str], Ordering] = {}
    alone: list[float] = costs.alone.tolist()
    out = []
    for models, rule in tried:
        a, b = scores.index(models[0]), scores.index(models[-1])
        trusted = wanted - scores.credit[a]
        if rule is None:  # one model has no λ: its images stay together
            together = Ordering.of(named("maxp"), np.zeros(len(wanted)))
            known = models == (reference,)
            alike = (together, trusted, trusted, alone[a], 0.0)
            out.append(Sweep(*alike, is_reference=known, most=most))
            continue
        if (a, rule.score) not in orderings:
            orderings[a, rule.score] = Ordering.by(scores, rule.score, a)
        escalated = trusted - pair_gains(scores, rule.score, a, b, rule.postcheck)
        last = models[-1] == reference and not rule.postcheck
        ordering, runs = orderings[a, rule.score], costs.runs([b])
        each = None if runs is None else runs[0]
        sweep = Sweep(ordering, trusted, escalated, alone[a], alone[b], last)
        out.append(replace(sweep, each_2=each, most=most))
    return out
