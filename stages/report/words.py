"""What a page says of its question and of the images behind its numbers."""

from __future__ import annotations

from stages.report.costs import PageCosts
from stages.report.points import PageSubject
from stages.report.searched import Searched
from stages.search import ACCURACY, COST, ENERGY, LATENCY, MATCH, USAGE, limit_of
from stages.threshold import FOLDS, REPEATS


def asked(searched: Searched, costs: PageCosts) -> str:
    """The question."""
    question, unit = searched.question, costs.pricer.prices.unit
    model = question.model or f"{searched.answer.matched}, the best single model"
    words = {
        MATCH: f"within {{}} of {model}",
        ACCURACY: "that is right on at least {}",
        COST: "for at most {} a request",
        LATENCY: "in at most {} a request",
        ENERGY: "with at most {} a request",
        USAGE: "with B on at most {}",
    }
    goals = [words[goal.kind].format(limit_of(goal, unit)) for goal in question.goals]
    best = "the cheapest" if question.cheapest else "the most accurate"
    sure = "" if question.confidence is None else f", {question.confidence:.0%} sure"
    return f"Asked for: {' '.join([best, ', '.join(goals)]).strip()}{sure}."


def basis(subject: PageSubject, selected: bool = False) -> str:
    """The images behind the figures; `selected`, those shown had a part in the choice."""
    n, split = f"{len(subject.reported.labels):,}", subject.reported.split
    also = " These also selected it, by the test, which flatters its accuracy a little." * selected
    return {
        "cross-fit": f"Accuracy is cross-fitted on the {n} images of {split}: each fold is decided "
        f"by a choice on the other {FOLDS - 1} of {FOLDS}, {REPEATS} times over. Use of B, cost "
        "and what it saves are of this λ on all of them.",
        "same-split": f"Chosen and shown on the same {n} images of {split}, which flatters.",
        **dict.fromkeys(
            ("hold-out", "halves"),
            f"Chosen on {subject.fitted_on}, shown on {subject.shown_on}.{also}",
        ),
        "other-split": f"Chosen on {subject.fitted_on}, shown on {split} ({n} images).{also}",
    }[subject.plan.method]


def drawn(subject: PageSubject) -> str:
    """What a curve over λ shows where the images shown chose λ, and how far its marks stand off."""
    if not subject.fitted_here:
        return f"Chosen on {subject.fitted_on}, drawn on {subject.shown_on}."
    line = "The lines show each λ on the images that fitted it, which flatters"
    return f"{line}; marks are cross-fitted." if subject.cross_fitted else f"{line}."
