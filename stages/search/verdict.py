"""Two words say what an answer is. *target*: does it do what was asked? *worth*: is it better than
the single model that one would deploy instead?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.cascade import Cascade, Outcome
from stages.scores import ScoreSet
from stages.search.evaluation import AnswerRow, SearchRow
from stages.search.question import (
    ABSTAINED,
    ACCURACY,
    BEST,
    COST,
    LOSS,
    MATCH,
    USAGE,
    Goal,
    Question,
)
from stages.statistics import Interval

MEETS, CANNOT_TELL, MISSES = "MEETS", "CANNOT TELL", "MISSES"
WORTH, NOT_WORTH = "WORTH IT", "NOT WORTH IT"


@dataclass(frozen=True)
class Reached:
    """A limit, what the answer did of it on the reported images, and MEETS, CANNOT TELL or
    MISSES."""

    goal: Goal
    found: Interval
    target: str


@dataclass(frozen=True)
class GoalFacts:
    """The same, JSON-ready: `limit` is the margin of a match; `device` and `batch_size` where it is
    of one, `unit` that of a cost that is not the one compared."""

    kind: str
    limit: float
    model: str | None
    device: str | None
    batch_size: int | None
    unit: str | None
    found: float
    found_low: float
    found_high: float
    target: str

    @classmethod
    def of(cls, reached: Reached) -> GoalFacts:
        goal, told, pricer = reached.goal, reached.found, reached.goal.pricer
        limit = goal.within if goal.kind == MATCH else goal.number
        place: tuple[str | None, int | None, str | None] = (None, None, None)
        if pricer is not None:
            place = (pricer.prices.device, pricer.batch_size, pricer.prices.unit)
        ends = (told.value, told.low, told.high)
        return cls(goal.kind, limit, goal.model, *place, *ends, reached.target)


@dataclass(frozen=True)
class Verdict:
    """`target` and `worth` are the two words. What they were made of: the `row` of the answer,
    whose cascade is `point`; `goals`, what it did of each limit; `reached`, the baseline does what
    was asked; `rival`, a single model that costs no more and was no worse, if any; `needed`, about
    how many images would tell, where these cannot; `chose`, the images that would test are those
    that chose; `near`, of the next cheaper single model, where it nearly does; `asked`, the
    baseline is not the search's."""

    question: Question
    point: Cascade
    row: AnswerRow
    target: str
    reached: bool = True
    rival: str | None = None
    needed: int | None = None
    chose: bool = False
    near: str | None = None
    asked: bool = False
    goals: Sequence[Reached] = ()

    @property
    def alone(self) -> bool:
        return len(self.point.models) == 1

    @property
    def model(self) -> str:
        """The one that accuracy is held against."""
        return str(self.row.matched or self.row.against.baseline)

    @property
    def saved(self) -> Interval:
        """Nothing can be saved against what is free."""
        return self.row.price.saved or Interval(0.0, 0.0, 0.0)

    @property
    def worth(self) -> str:
        """Never WORTH IT unless the target is met, nor where a single model is no dearer and no
        worse on the reported images; a single model is no cascade."""
        change, saved = self.row.gain, self.saved
        if self.alone or self.rival or self.target == MISSES:
            return NOT_WORTH
        better, no_better = change.low > 0, change.high <= 0
        cheaper, no_cheaper = saved.low > 0, saved.high <= 0
        if self.question.kind in (COST, BEST):
            cheaper, no_cheaper = False, True
        if self.question.kind == MATCH:  # accuracy is held against another model than the saving
            better, no_better = False, True
        if self.target == MEETS and (better or cheaper):
            return WORTH
        return NOT_WORTH if no_better and no_cheaper else CANNOT_TELL


def target_of(question: Question, row: SearchRow, alone: bool, goals: Sequence[Reached]) -> str:
    """By the intervals on the reported images, of an answer that was not tested there."""
    if question.kind == BEST:  # more accurate, not as accurate
        change = row.gain
        return MEETS if alone or change.low > 0 else MISSES if change.high < 0 else CANNOT_TELL
    return worst([each.target for each in goals])


def did_of(goal: Goal, row: SearchRow, scores: ScoreSet, found: Outcome) -> Interval:
    """What the row's cascade did of a limit on these images."""
    if goal.pricer is not None:
        return goal.pricer.on(scores).request(row.models, found.stage)
    known = {
        MATCH: row.gain,
        ACCURACY: row.accuracy,
        LOSS: row.loss,
        COST: row.price.cost,
        USAGE: row.usage,
        ABSTAINED: row.abstained,
    }
    told = known[goal.kind]
    if told is None:
        raise ValueError(f"nothing is known of {goal.kind}")
    return told


def word_of(goal: Goal, found: Interval) -> str:
    """By its interval: what is at least, or at most, what is asked; to match, less worse."""
    if goal.kind == MATCH:
        low, high = found.low > -goal.within, found.high <= -goal.within
        return MEETS if low else MISSES if high else CANNOT_TELL
    sign = 1 if goal.kind == ACCURACY else -1
    least, most = sorted(sign * (end - goal.number) for end in (found.low, found.high))
    return MEETS if least >= 0 else MISSES if most < 0 else CANNOT_TELL


def reached_by(
    question: Question, row: SearchRow, scores: ScoreSet, found: Outcome
) -> list[Reached]:
    """What the row's cascade did of each limit on these images, by its intervals."""
    told = [(goal, did_of(goal, row, scores, found)) for goal in question.goals]
    return [Reached(goal, did, word_of(goal, did)) for goal, did in told]


def worst(words: Sequence[str]) -> str:
    """Of all limits together."""
    return next((word for word in (MISSES, CANNOT_TELL) if word in words), MEETS)
