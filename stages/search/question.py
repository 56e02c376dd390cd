"""What is asked of a frontier of accuracy against cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stages.costs import Pricer

BEST, ACCURACY, COST = "best-accuracy", "min-accuracy", "max-cost"
MATCH, CERTIFY, LOSS = "match", "certify", "max-loss"
QUESTIONS = (BEST, ACCURACY, COST, MATCH, CERTIFY, LOSS)
OF_ANSWERS = (ACCURACY, MATCH, LOSS)
LATENCY, ENERGY, USAGE = "max-latency", "max-energy", "max-usage"
ABSTAINED = "max-abstained"
CAPS = (LATENCY, ENERGY, USAGE, ABSTAINED)
# How much less accurate still matches, and how sure that must be.
WITHIN, CONFIDENCE = 0.01, 0.95


@dataclass(frozen=True)
class Goal:
    """One limit that an answer keeps. `kind`: `match`, no worse than `model` (None: the best single
    one) by the margin `within`, of its loss where answers have one; `min-accuracy`, at least
    `value`; else at most `value`: `max-loss` of the mean loss, `max-cost` of what the search
    compares, `max-latency` and `max-energy` of what `pricer` tells, `max-usage` of the requests
    that B runs on, `max-abstained` of those that come to a last stage that is no model."""

    kind: str
    value: float | None = None
    model: str | None = None
    within: float = WITHIN
    pricer: Pricer | None = field(default=None, compare=False, repr=False)
    place: str = ""

    def __post_init__(self) -> None:
        """Where it is a limit: the device and batch size that its pricer tells of."""
        if self.pricer is not None:
            device, size = self.pricer.prices.device, self.pricer.batch_size
            place = (f"@{device}" if device else "") + (f":{size}" if size > 1 else "")
            object.__setattr__(self, "place", place)

    @property
    def number(self) -> float:
        """`value`; ValueError where there is none."""
        if self.value is None:
            raise ValueError(f"{self.kind} needs a number")
        return self.value

    def __str__(self) -> str:
        what = [self.kind, *(str(x) for x in (self.value, self.model) if x is not None)]
        what[-1] += self.place
        if self.kind == MATCH:
            what += [] if self.model else ["the best single model"]
            what += ["within", f"{self.within:g}"]
        return " ".join(what)


@dataclass(frozen=True)
class Question:
    """`kind`: `match`, the cheapest no worse than `model` (None: the best single one) by the margin
    `within`; `min-accuracy`, or under a loss `max-loss`, the cheapest that reaches `value`;
    `max-cost`, the most accurate for
    at most `value` per request, or without it within the other limits; `best-accuracy`. `also` are
    other limits that the answer keeps. `confidence` is how sure all that must be: an answer is then
    tested on images without a part in the choice, as one to `match` always is. `certify` is
    answered by `guarantee`, not here."""

    kind: str = MATCH
    value: float | None = None
    model: str | None = None
    within: float = WITHIN
    confidence: float | None = None
    also: tuple[Goal, ...] = ()

    @property
    def goals(self) -> tuple[Goal, ...]:
        """Every limit, that of `kind` first."""
        own = self.cheapest or (self.kind == COST and self.value is not None)
        first = (Goal(self.kind, self.value, self.model, self.within),) if own else ()
        return (*first, *self.also)

    @property
    def caps(self) -> tuple[Goal, ...]:
        """The limits of what is not compared."""
        return tuple(goal for goal in self.goals if goal.kind in CAPS)

    @property
    def compared(self) -> tuple[Goal, ...]:
        """The others: of accuracy, and of the cost that is compared."""
        return tuple(goal for goal in self.goals if goal not in self.caps)

    @property
    def several(self) -> bool:
        return bool(self.also)

    @property
    def cheapest(self) -> bool:
        """The least cost is wanted, else the highest accuracy, or under a loss the least."""
        return self.kind in (MATCH, ACCURACY, LOSS)

    @property
    def matching(self) -> Goal | None:
        return next((goal for goal in self.goals if goal.kind == MATCH), None)

    @property
    def tested(self) -> bool:
        return self.matching is not None or self.confidence is not None

    @property
    def sure(self) -> float:
        return CONFIDENCE if self.confidence is None else self.confidence

    @classmethod
    def of(
        cls, goals: Sequence[Goal], most_accurate: bool = False, confidence: float | None = None
    ) -> Question:
        """The cheapest that keeps these where any is of accuracy or loss, else, or where that is
        wanted, the most accurate; without any, or of what no model answers alone, the cheapest that
        matches the best single model."""
        if not goals:
            return cls(BEST if most_accurate else MATCH, confidence=confidence)
        if not most_accurate and all(goal.kind == ABSTAINED for goal in goals):
            goals = [Goal(MATCH), *goals]  # who hands some on still wants to save
        kinds = (COST,) if most_accurate else (MATCH, ACCURACY, LOSS, COST)
        found = (goal for kind in kinds for goal in goals if goal.kind == kind)
        first = next(found, Goal(COST))
        also = tuple(goal for goal in goals if goal is not first)
        return cls(first.kind, first.value, first.model, first.within, confidence, also)

    def without(self, goal: Goal) -> Question:
        """The same but for one limit."""
        rest = [each for each in self.goals if each != goal]
        return Question.of(rest, not self.cheapest or not rest, self.confidence)

    def __str__(self) -> str:
        goals = list(map(str, self.goals)) or [self.kind]
        if self.several and not self.cheapest:
            goals.insert(0, BEST)
        sure = [] if self.confidence is None else [f"with confidence {self.confidence:g}"]
        return " ".join([" and ".join(goals), *sure])
