"""A plan, from images that have no part in its tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

import cache
from cache import InputError, Store
from stages.certify import Limits, check_calibration
from stages.costs import ExpectedCosts
from stages.few_labels.calibration import (
    CalibrationImages,
    digest_of_keys,
    digest_of_outputs,
    keys_of,
    scores_in,
)
from stages.few_labels.differing import differing
from stages.few_labels.plan import (
    ALL,
    DISAGREEMENT,
    LOSS,
    PREDICTED_CLASS,
    Plan,
    PlannedCascade,
    PlannedModel,
)
from stages.few_labels.trial import most_lost
from stages.hashes import image_keys
from stages.scores import ScoreSet
from stages.search import Shortlist, Space
from stages.threshold import trained_splits

# Of how many of the images where the answers differ labels may be asked for.
_SHARES = (1.0, 0.5, 0.25, 0.125)


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What is to be certified, as in `Plan`; `share` None is chosen, where there is a budget, by
    the images that propose. `part`: those are of the split itself."""

    limits: Limits
    reference: str | None
    part: bool = False
    share: float | None = None
    seed: int = 0
    label_budget: int | None = None
    per: str | None = None
    hold: str = ALL
    accuracy_sample: int = 0


def propose_plan(
    store: Store,
    proposing: ScoreSet,
    calibrating: Callable[[str], ScoreSet],
    costs: ExpectedCosts,
    cost: tuple[str, str],
    space: Space,
    request: PlanRequest,
) -> CalibrationImages:
    """The plan, and its images. `proposing` has labels, or the reference's answers for them;
    `calibrating` gives the images by their reference; `cost` is (kind, unit)."""
    limits = request.limits
    everyone = np.arange(len(proposing.labels))
    shortlist = Shortlist.of(proposing, costs, space, request.reference, everyone)
    scores = calibrating(shortlist.reference)
    check_calibration(scores.split, image_keys(store, scores), trained_splits(store, scores))
    found = candidates(shortlist, proposing, limits)
    if not found:
        raise InputError(
            f"no cascade of these models costs less than {shortlist.reference} alone: there is "
            "nothing to certify"
        )
    keys = keys_of(store, scores)
    used = [m for m in scores.models if m == shortlist.reference or _used(m, found)]
    scores = only(scores, used)
    alone = dict(zip(proposing.models, costs.alone.tolist(), strict=True))
    plan = Plan(
        dataset=scores.dataset,
        split=scores.split,
        runtime=scores.runtime,
        images=digest_of_keys(keys),
        n=len(scores.labels),
        part=request.part,
        proposing_split=proposing.split,
        proposed=len(proposing.labels),
        models={name: PlannedModel(outputs="", cost=alone[name]) for name in used},
        cost_kind=cost[0],
        cost_unit=cost[1],
        reference=shortlist.reference,
        risk=DISAGREEMENT if request.label_budget == 0 else LOSS,
        epsilon=limits.epsilon,
        delta=limits.delta,
        bound=limits.bound,
        share=1.0,
        seed=request.seed,
        max_usage=limits.usage,
        max_cost=limits.cost,
        label_budget=request.label_budget,
        per=request.per,
        hold=request.hold,
        strata=(),
        accuracy_sample=request.accuracy_sample,
        made=cache.now(),
        candidates=found,
    )
    plan = replace(plan, share=request.share or share_of(plan), models=_digested(plan, scores))
    plan = replace(plan, strata=_strata(plan, proposing))
    return CalibrationImages(plan, scores, keys)


def candidates(
    shortlist: Shortlist, proposing: ScoreSet, limits: Limits
) -> tuple[PlannedCascade, ...]:
    """In the order of their tests."""
    found, caps, cascades = shortlist.candidates(limits)
    answers = proposing.predictions[proposing.index(shortlist.reference)]
    answered = replace(proposing, labels=answers, correct=proposing.predictions == answers)
    others, _ = differing(answered, cascades)
    return tuple(
        PlannedCascade.of(
            cascade,
            most_usage=float(caps[c]),
            usage=float(found.usage[c]),
            cost=float(found.cost[c]),
            lost=float(found.lost[c]),
            won=float(found.won[c]),
            differing=float(others[c] / len(answers)),
        )
        for c, cascade in enumerate(cascades)
    )


def only(scores: ScoreSet, models: Sequence[str]) -> ScoreSet:
    """Of some of the models."""
    rows = [scores.index(name) for name in models]
    return replace(
        scores,
        models=tuple(models),
        predictions=scores.predictions[rows],
        correct=scores.correct[rows],
        scores={name: scores.scores[name][rows] for name in scores.scores},
        manifests=tuple(scores.manifests[row] for row in rows),
        request_costs={},
        means={},
    )


def _used(model: str, found: Sequence[PlannedCascade]) -> bool:
    return any(model in each.models for each in found)


def _digested(plan: Plan, scores: ScoreSet) -> dict[str, PlannedModel]:
    names = scores_in(plan)
    return {
        model: replace(planned, outputs=digest_of_outputs(scores, m, names))
        for m, (model, planned) in enumerate(plan.models.items())
    }


def share_of(plan: Plan) -> float:
    """The share by which the cheapest candidate is likely to be reached within the budget, the
    larger of two alike: as the images that propose say, so that it is fixed before any label."""
    if not plan.label_budget:
        return 1.0
    return min(_SHARES, key=lambda share: (_reached(plan, share), -share))


def _reached(plan: Plan, share: float) -> float:
    """The cost of the cheapest candidate that is likely to pass: one standard error more is lost
    than on the images that propose, and each has but a budget of labels."""
    level, reached = plan.epsilon * share, plan.models[plan.reference].cost
    most = most_lost(plan.n, level, plan.delta)
    for each in plan.candidates:
        lost, differing = (plan.n * share * rate for rate in (each.lost, each.differing))
        # The test is over when all that may still be lost would not fail it.
        labels = min(differing, max(differing - most + lost, 0))
        if lost + lost**0.5 > most or labels > (plan.label_budget or 0):
            break
        reached = min(reached, each.cost)
    return reached


def _strata(plan: Plan, proposing: ScoreSet) -> tuple[int, ...]:
    """The classes that the reference answers so often that something could be promised of each;
    InputError where there is none."""
    if plan.per != PREDICTED_CLASS:
        return ()
    answers = proposing.predictions[proposing.index(plan.reference)]
    classes, counts = np.unique(answers, return_counts=True)
    expected = (counts * (plan.n / len(answers))).astype(int)
    enough = [most_lost(k, plan.epsilon * plan.share, plan.delta) >= 0 for k in expected.tolist()]
    if not any(enough):
        raise InputError(
            f"no class is answered on enough of the {plan.n} images to promise "
            f"{plan.epsilon:.2%} of it: give more images, or a larger MAX_LOSS"
        )
    return tuple(int(each) for each in classes[enough])
