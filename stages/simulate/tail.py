"""How often a request costs more than a budget: what a mean does not tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.cascade import Cascade, Outcome
from stages.costs import Pricer, over_budget
from stages.results import Row
from stages.simulate.shares import share_of
from stages.statistics import Interval, exact_share


@dataclass(frozen=True, kw_only=True)
class Tail(Row):
    """The share of requests that cost more than `cost_budget`, in the unit of the cost, with its
    exact interval (Clopper & Pearson 1934); null where no budget is given, or no cost known."""

    cost_budget: float | None = None
    over_budget: Interval | None = None


def tail_of(
    pricer: Pricer | None, cascade: Cascade, outcome: Outcome, sample_ids: np.ndarray
) -> Tail:
    """Of requests about the images `sample_ids` int [N] that a cascade answered so."""
    if pricer is None or pricer.budget is None:
        return Tail()
    ran = cascade.ran(outcome.stage)
    over = over_budget(pricer, cascade.models, ran, outcome.hit is not None)
    share = None if over is None else share_of(over, sample_ids, exact_share)
    return Tail(cost_budget=pricer.budget, over_budget=share)
