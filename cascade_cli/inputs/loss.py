"""What counts as right."""

from __future__ import annotations

from dataclasses import replace

from cache import Store
from stages.scores import ScoreSet, named_classes, parse_loss, with_loss
from stages.threshold import FitPlan


def under_loss(
    store: Store, loss: str | None, reported: ScoreSet, fitted: FitPlan
) -> tuple[ScoreSet, FitPlan]:
    """(reported, plan) with what each answer costs by `--loss`; as they are without."""
    if loss is None:
        return reported, fitted
    found = parse_loss(loss, named_classes(store, reported) or None)
    told = with_loss(store, reported, found)
    same = fitted.scores is reported
    return told, replace(fitted, scores=told if same else with_loss(store, fitted.scores, found))
