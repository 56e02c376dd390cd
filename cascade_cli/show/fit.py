"""Which images fitted λ, and which tell how accurate it is."""

from __future__ import annotations

from typing import Any

from stages.scores import ScoreSet
from stages.threshold import REPEATS, FitPlan


def decided_by_folds(n: int) -> str:
    """Which images say how accurate a cascade is whose λ was cross-fitted on n."""
    return (
        f"Accuracy and its change are those of folds decided by the λ of the others, {REPEATS} "
        f"times over; use of B and cost are those of this λ on all {n:,} images."
    )


def calibrated_by(method: str | None, fitted: FitPlan) -> dict[str, Any]:
    """How scores were made probabilities, and by which images, where they were."""
    if method is None:
        return {}
    n = len(fitted.scores.labels)
    return {"calibrated": {"method": method, "split": fitted.split, "n": n}}


def fit_facts(reported: ScoreSet, fitted: FitPlan) -> dict[str, Any]:
    """What a result says of its images, first of all."""
    return {
        "dataset": reported.dataset,
        "split": reported.split,
        "fit_split": fitted.split,
        "fit_method": fitted.method,
        **reported.cut,
        "notes": list(fitted.notes),
    }
