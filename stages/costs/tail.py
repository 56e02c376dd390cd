"""Which requests cost more than a budget: of each its own cost, whose mean is the bill's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.costs.pricing import Pricer, by_size

# Sums of a few costs err by less: 0.1 + 0.2 is no more than 0.3.
_ROUNDING = 2.0**-44


def cost_of_each(
    pricer: Pricer, models: Sequence[str], stage: np.ndarray, remembered: bool = False
) -> np.ndarray | None:
    """float64 [N], in the prices' unit, of requests in their order; `stage` int [N] the last of
    `models` that ran, −1 where a memory answered. None where hashing costs what is not known.

    Requests that a model answers at once share alike what the batch costs; all share alike what a
    device draws that waits.
    """
    bill = pricer.bill_if_known(models, stage, remembered)
    if bill is None:
        return None
    alike = sum(cost.value for (what, _), cost in bill.parts.items() if what != "forward")
    if pricer.prices.by_request:
        return bill.spent + alike
    spent, size = np.full(len(stage), float(alike)), min(pricer.batch_size, len(stage))
    for j, model in enumerate(models):
        spent += _shared(by_size(pricer.curve(model), size)[0], stage >= j, size)
    return spent


def over_budget(
    pricer: Pricer, models: Sequence[str], stage: np.ndarray, remembered: bool = False
) -> np.ndarray | None:
    """bool [N]: a request costs more than the pricer's budget; None without one, and as above."""
    if pricer.budget is None:
        return None
    spent = cost_of_each(pricer, models, stage, remembered)
    return None if spent is None else spent > pricer.budget * (1 + _ROUNDING)


def _shared(costs: np.ndarray, ran: np.ndarray, size: int) -> np.ndarray:
    """float64 [N]: of requests `size` of which come at once, those where bool [N] holds share what
    so many cost, float64 [size + 1]."""
    batch = np.arange(len(ran)) // size
    together = np.bincount(batch, ran).astype(np.int64)[batch]
    return np.where(ran, costs[together] / np.maximum(together, 1), 0.0)
