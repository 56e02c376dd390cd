"""Plans of certificates from few labels on random images with many ties, and a plain reading of
what their candidates answer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from helpers import random_scores

from stages.cascade import ALWAYS, NEVER, Cascade
from stages.few_labels.calibration import CalibrationImages
from stages.few_labels.plan import ALL, LOSS, Plan, PlannedCascade, PlannedModel

REFERENCE, EPSILON, DELTA = 1, Fraction(1, 4), Fraction(1, 3)
ESTIMATES = dict.fromkeys(("usage", "cost", "lost", "won", "differing"), 0.0)


def planned(models, score=None, limit=None, postcheck=False, most_usage=1.0):
    """A candidate, whose estimates nothing is told by."""
    limits = [] if limit is None else [limit]
    cascade = Cascade.of(models, score, *limits, postcheck=postcheck)
    return PlannedCascade.of(cascade, most_usage=most_usage, **ESTIMATES)


def plan_of(scores, candidates, **how):
    """Of all models of the scores; the dearest is the reference."""
    usual = {
        "dataset": "toy",
        "split": scores.split,
        "runtime": None,
        "images": "",
        "n": len(scores.labels),
        "part": False,
        "proposing_split": "val",
        "proposed": 10,
        "models": {name: PlannedModel(outputs="", cost=2.0**m) for m, name in enumerate(MODELS)},
        "cost_kind": "macs",
        "cost_unit": "MACs",
        "reference": MODELS[REFERENCE],
        "risk": LOSS,
        "epsilon": float(EPSILON),
        "delta": float(DELTA),
        "bound": "binomial",
        "share": 1.0,
        "seed": 3,
        "max_usage": None,
        "max_cost": None,
        "label_budget": None,
        "per": None,
        "hold": ALL,
        "strata": (),
        "accuracy_sample": 0,
        "made": "",
        "candidates": tuple(candidates),
    }
    return Plan(**usual | how)


MODELS = ("small", "large", "other")


def images_of(scores, plan):
    """The calibration images, which know the reference's answers and no label."""
    answers = scores.predictions[REFERENCE]
    named = type(scores)(
        **vars(scores) | {"labels": answers, "correct": scores.predictions == answers}
    )
    return CalibrationImages(plan, named, tuple(map(str, range(plan.n))))


def drawn(seed, n, **how):
    """(scores with labels, candidates with many ties) of a random case."""
    rng = np.random.default_rng(seed)
    scores = random_scores(rng, n, levels=4)
    candidates = [
        planned(models, score, rng.integers(0, 5) / 4, bool(rng.integers(2)))
        for models in (("small", "large"), ("small", "other"), ("other", "large"))
        for score in ("maxp", "difference")
    ]
    candidates += [planned(("small", "large"), "maxp", limit) for limit in (ALWAYS, NEVER)]
    candidates.append(planned(("other",)))
    order = rng.permutation(len(candidates))
    return scores, [candidates[c] for c in order]


def answered(scores, candidate, i):
    """By a plain reading of the rule, image by image."""
    rows = [scores.models.index(name) for name in candidate.models]
    first = int(scores.predictions[rows[0], i])
    if candidate.score is None:
        return first
    a, b = (Fraction(scores.scores[candidate.score][row, i]) for row in rows)
    limit = candidate.threshold
    if limit == NEVER or (limit != ALWAYS and a >= Fraction(limit)):
        return first
    if candidate.postcheck and not b > a:
        return first
    return int(scores.predictions[rows[1], i])
