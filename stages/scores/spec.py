"""What a score is, and the names of all that are built in; numpy is not needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class Score:
    """A score function. `sign` is +1 where larger means surer, −1 where smaller does. Whether those
    of two models are `comparable`: a post-check asks which of them is surer."""

    name: str
    sign: int
    needs_label: bool = False
    comparable: bool = True

    def holds(self, value: float) -> bool:
        """Whether λ may be this: a number, of the rule's own in [0, 1]."""
        return isfinite(value) and (self.name not in SCORES or 0 <= value <= 1)

    def extent(self, values: Any) -> tuple[float, float]:
        """Between which λ lie: 0 and 1 where all the values do, float64 [N], else their ends."""
        ends = float(values.min()), float(values.max())
        return (0.0, 1.0) if ends[0] >= 0 and ends[1] <= 1 else ends


# Those of the decision rule: `stages.scores.softmax` makes them all in one pass, and they are
# columns of one table.
SCORES: Mapping[str, Score] = {
    "maxp": Score("maxp", +1),
    "difference": Score("difference", +1),
    "entropy": Score("entropy", -1),
    # 1 where A is right, else 0; trusted at λ = 1. Post-check means nothing here.
    "oracle": Score("oracle", +1, needs_label=True),
}
LABEL_FREE = tuple(name for name, score in SCORES.items() if not score.needs_label)
# How the name of a confidence begins that is surer when small; every other is when large.
SMALL_IS_SURE = ("entropy", "uncertainty", "variance", "loss")


def confidence(name: str) -> Score:
    """One that came with answers, under its own name: of any range, by no formula known here."""
    return Score(name, -1 if name.lower().startswith(SMALL_IS_SURE) else +1, comparable=False)


@dataclass(frozen=True)
class ScoreFunction:
    """A score in a module of its own. `sign` is +1 where larger means surer, −1 where smaller does.

    of: float32 [N, K], finite and read-only, N ≥ 1 → float64 [N], finite, where a row's result
    must not depend on the rows beside it.
    """

    name: str
    sign: int
    of: Callable[[Any], Any]


# The ScoreFunctions of this project, by name as `module:attribute`; used where they are asked for.
FUNCTIONS: Mapping[str, str] = {}
