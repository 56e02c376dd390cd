"""What is asked of a frontier of accuracy against cost."""

from __future__ import annotations

from dataclasses import dataclass

BEST, ACCURACY, COST = "best-accuracy", "min-accuracy", "max-cost"
MATCH, CERTIFY = "match", "certify"
QUESTIONS = (BEST, ACCURACY, COST, MATCH, CERTIFY)
# How much less accurate still matches, and how sure that must be.
WITHIN, CONFIDENCE = 0.01, 0.95


@dataclass(frozen=True)
class Question:
    """`kind`: `match`, the cheapest no worse than `model` (None: the best single one) by the margin
    `within`; `min-accuracy`, the cheapest that reaches `value`; `max-cost`, the most accurate for
    at most `value` per request; `best-accuracy`. `confidence` is how sure that must be: an answer
    is then tested on images without a part in the choice, as one to `match` always is. `certify` is
    answered by `guarantee`, not here."""

    kind: str = MATCH
    value: float | None = None
    model: str | None = None
    within: float = WITHIN
    confidence: float | None = None

    @property
    def tested(self) -> bool:
        return self.kind == MATCH or self.confidence is not None

    @property
    def sure(self) -> float:
        return CONFIDENCE if self.confidence is None else self.confidence

    def __str__(self) -> str:
        what = [self.kind, *(str(x) for x in (self.value, self.model) if x is not None)]
        if self.kind == MATCH:
            what += [] if self.model else ["the best single model"]
            what += ["within", f"{self.within:g}"]
        if self.confidence is not None:
            what += ["with confidence", f"{self.confidence:g}"]
        return " ".join(what)
