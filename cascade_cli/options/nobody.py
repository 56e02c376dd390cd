"""A last stage that is no model."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_cli.options.common import share
from cascade_cli.options.groups import option


@dataclass(frozen=True)
class NobodyOptions:
    """What takes that of which the last model is unsure, and how much of it at most."""

    abstain: float | None = option(
        None, "What the last model is unsure of stays unanswered, at this cost (an error is 1)."
    )
    human: str | None = option(
        None, "Or a person answers it: ACCURACY,COST, as 0.98,0.05, the cost as --cost counts."
    )
    max_abstained: float | None = option(
        None, "The largest share for either, where λ is fitted: 0.1.", callback=share
    )
