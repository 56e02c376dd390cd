"""Which cascade is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_cli.options.common import share
from cascade_cli.options.groups import option


@dataclass(frozen=True)
class QuestionOptions:
    """One question at a time, with its margin and how sure the answer is to be."""

    min_accuracy: float | None = option(None, "The cheapest this accurate, 0 to 1.", callback=share)
    max_cost: str | None = option(None, "The most accurate within a cost: 0.5mJ, 12ms, 150M, 3e6.")
    match: str | None = option(
        None, "The cheapest no worse than this model. [default: than the best single model]"
    )
    best_accuracy: bool = option(False, "The most accurate.")
    within: float | None = option(
        None,
        "How much less accurate still matches, 0.01: one point. [default: 0.01]",
        callback=share,
    )
    confidence: float | None = option(
        None,
        "Test the answer, to be this sure that it does what is asked: 0.95, as --match is.",
        callback=share,
    )


@dataclass(frozen=True)
class CertifyOptions:
    """A promise that holds with a stated probability."""

    certify: str | None = option(
        None, "MAX_LOSS,RISK: 0.03,0.1 loses at most 3 points; wrong at most 1 time in 10."
    )
    bound: str | None = option(None, "Of --certify: binomial (default) or betting.")
    reference: str | None = option(None, "Of --certify: lost against this model. [default: best]")
    max_usage: float | None = option(
        None, "Of --certify: also cap the use of B, 0 to 1.", callback=share
    )
