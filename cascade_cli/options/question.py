"""Which cascade is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from cascade_cli.options.common import share
from cascade_cli.options.groups import option


@dataclass(frozen=True)
class QuestionOptions:
    """Any limits, what is to be best within them, and how sure the answer is to be."""

    min_accuracy: float | None = option(
        None, "Right on at least this share, 0 to 1; the cheapest is wanted.", callback=share
    )
    match: str | None = option(
        None,
        "No worse than this model; the cheapest is wanted. [default: than the best single model, "
        "where nothing else is asked]",
    )
    within: float | None = option(
        None,
        "How much less accurate, or of more loss, still matches, 0.01: one point. [default: 0.01]",
        callback=share,
    )
    max_cost: str | None = option(
        None, "At most this --cost a request, on average: 0.5mJ, 12ms, 150M, 3e6."
    )
    max_latency: list[str] | None = option(
        None, "At most this time a request: 12ms, 12ms@DEVICE, 12ms@DEVICE:BATCH_SIZE; repeatable."
    )
    max_energy: list[str] | None = option(
        None, "The same of energy: 5mJ@orin:8, likewise repeatable."
    )
    max_usage: float | None = option(
        None, "At most this share of the requests go to B, 0 to 1.", callback=share
    )
    best_accuracy: bool = option(
        False, "The most accurate within the limits, where accuracy has one too."
    )
    confidence: float | None = option(
        None,
        "Test the answer, to be this sure that it keeps all limits: 0.95, as --match is.",
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
