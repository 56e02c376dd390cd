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
# What makes any of them the probability of being right; isotonic(maxp) then names it.
CALIBRATIONS = ("isotonic", "platt")
# What else is made of a score, or of the logits, with what images fitted: temperature(maxp).
FITTED = (*CALIBRATIONS, "temperature", "learned", "logits")
# The members behind a committee's answer over all of them.
VOTE_SHARE = Score("vote_share", +1, comparable=False)


def made_of(name: str) -> tuple[str, str] | None:
    """(how, of which score) a fitted score is made, None for one that stands for itself.

    >>> made_of("isotonic(maxp)")
    ('isotonic', 'maxp')
    """
    how, found, score = name.partition("(")
    return (how, score[:-1]) if found and how in FITTED and score.endswith(")") else None


def is_calibrated(name: str) -> bool:
    """Whether it is the probability of being right."""
    made = made_of(name)
    return made is not None and made[0] in CALIBRATIONS


def checked_by(name: str) -> str:
    """The score that a post-check compares where λ is of this one: what is learned of A says
    nothing of B."""
    made = made_of(name)
    return made[1] if made is not None and made[0] == "learned" else name


def built_in(name: str) -> Score | None:
    """The score of this name that no package and no answers brought."""
    if (made := made_of(name)) is None:
        return VOTE_SHARE if name == VOTE_SHARE.name else SCORES.get(name)
    how, score = made
    return Score(name, SCORES[score].sign if how == "temperature" and score in SCORES else +1)


# How the name of a confidence begins that is surer when small; every other is when large.
SMALL_IS_SURE = ("entropy", "uncertainty", "variance", "loss")


def allows(name: str, value: float) -> bool:
    """Whether λ of the score may be this: a number, of the rule's own and of probabilities in
    [0, 1]."""
    made = made_of(name)
    any_range = name not in SCORES if made is None else made[0] in ("learned", "logits")
    return isfinite(value) and (any_range or 0 <= value <= 1)


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
