"""λ of the last model before a stage that is nobody's: where answering costs as much as not to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from cache import InputError
from stages.cascade import NEVER, Cascade, Limit, Ordering, decide, fit
from stages.scores import Nobody, ScoreSet, named, with_nobody, without_nobody
from stages.simulate import FitFacts, FittedLimit
from stages.threshold.fit_images import FitPlan
from stages.threshold.stage import fitted_point


@dataclass(frozen=True)
class LastStage:
    """What takes that of which the last model is unsure, and at most which share of all images."""

    nobody: Nobody
    most: float | None = None


def last_limit(
    fitting: ScoreSet, cascade: Cascade, most: float | None = None, objective: str = "best"
) -> Limit:
    """λ of the cascade's last model with the least loss on these images, whose last row is the
    stage after it; `most` is the largest share of them that may come there. λ of the models before
    are the cascade's.

    Exact: every λ that decides differently is tried, in one sweep over the images that reach it.
    """
    *before, model, last = cascade.stages
    keeping = replace(cascade, stages=(*before, replace(model, limit=Limit(NEVER)), last))
    kept, j = decide(fitting, keeping), len(before)
    name = str(model.score)
    surer = Ordering.of(named(name), np.asarray(kept.scores[j])).subset(kept.stage == j)
    if most is not None:
        count = int(Fraction(str(most)) * len(kept.stage))
        surer = replace(surer, ends=surer.ends[surer.ends <= count])
    gain = fitting.credit[fitting.index(last.model)] - kept.credit
    return surer.limit(fit(surer, gain, (objective,))[objective].k)


def fitted_before_last(
    reported: ScoreSet,
    plan: FitPlan,
    models: tuple[str, ...],
    last: LastStage,
    score: str = "maxp",
    postcheck: bool = False,
    objective: str = "best",
) -> tuple[Cascade, FittedLimit]:
    """A, or A and B, before `last`, with fitted λ: that of A as of the pair without the last
    stage, then B's. InputError where no images but those reported fit."""
    if plan.method == "cross-fit":
        raise InputError(
            f"λ before {last.nobody.name} is fitted on other images than those reported, and there "
            "are none: give --fit-split, or --halves 1"
        )
    limits: tuple[Limit, ...] = ()
    if len(models) > 1:
        pair, given = (models[0], models[1]), without_nobody(reported)
        bare = replace(plan, scores=without_nobody(plan.scores))
        limits = (fitted_point(given, bare, pair, score, postcheck, objective)[0],)
    fitting = with_nobody(plan.scores, last.nobody)
    names = (*models, last.nobody.name)
    first = Cascade.of(names, score, *limits, Limit(NEVER), postcheck=postcheck)
    found = last_limit(fitting, first, last.most, objective)
    cascade = Cascade.of(names, score, *limits, found, postcheck=postcheck)
    outcome = decide(fitting, cascade)
    facts = FitFacts(
        fit_split=plan.split,
        fit_method=plan.method,
        fit_n=len(fitting.labels),
        objective=objective,
        fit_accuracy=outcome.accuracy,
        fit_usage=outcome.usage(),
    )
    alone = max(models, key=lambda name: float(fitting.accuracy[fitting.index(name)]))
    return cascade, FittedLimit(facts, alone)
