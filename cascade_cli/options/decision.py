"""How a cascade decides: its score, its λ or how that is fitted, and its post-check."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_cli.options.common import Objective, PostCheck, ScoreFn, Threshold


@dataclass(frozen=True)
class DecisionOptions:
    """A score, λ (None: fitted, for the objective) and whether the surer answer counts."""

    scorefn: ScoreFn = "maxp"
    threshold: Threshold = None
    postcheck: PostCheck = False
    objective: Objective = "best"
