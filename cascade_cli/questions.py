"""The options of `search` and `report` that ask for a cascade, and the question they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from cascade_cli.options import share

if TYPE_CHECKING:
    from stages.pricing import Pricer
    from stages.questions import Question

MinAccuracy = Annotated[
    float | None,
    typer.Option("--min-accuracy", callback=share, help="The cheapest this accurate, 0 to 1."),
]
MaxCost = Annotated[
    str | None,
    typer.Option("--max-cost", help="The most accurate within a cost: 0.5mJ, 12ms, 150M, 3e6."),
]
Match = Annotated[
    str | None,
    typer.Option(
        "--match",
        help="The cheapest no worse than this model. [default: than the best single model]",
    ),
]
BestAccuracy = Annotated[bool, typer.Option("--best-accuracy", help="The most accurate.")]
Within = Annotated[
    float | None,
    typer.Option(
        "--within",
        callback=share,
        help="How much less accurate still matches, 0.01: one point. [default: 0.01]",
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        "--confidence",
        callback=share,
        help="Test the answer, to be this sure that it does what is asked: 0.95, as --match is.",
    ),
]


def given(
    min_accuracy: float | None, max_cost: str | None, match: str | None, best_accuracy: bool
) -> dict[str, Question]:
    """The questions asked, by flag; how much `--max-cost` is, is known with the costs."""
    from stages.questions import ACCURACY, BEST, COST, MATCH, Question

    asked = {
        "--min-accuracy": (min_accuracy, Question(ACCURACY, min_accuracy)),
        "--max-cost": (max_cost, Question(COST)),
        "--match": (match, Question(MATCH, model=match)),
        "--best-accuracy": (best_accuracy or None, Question(BEST)),
    }
    return {flag: question for flag, (value, question) in asked.items() if value is not None}


def only(
    asked: Mapping[str, Question], within: float | None = None, confidence: float | None = None
) -> Question:
    """The one question, with its margin and confidence; InputError where there are several."""
    from cache import InputError
    from stages.questions import BEST, MATCH, WITHIN, Question

    if len(asked) > 1:
        raise InputError(f"one question at a time: {' and '.join(asked)} are {len(asked)}")
    question = next(iter(asked.values()), Question())
    if within is not None and question.kind != MATCH:
        raise InputError(
            f"--within is the margin of --match: leave out one of it and {next(iter(asked))}"
        )
    if within is not None and not 0 < within < 1:
        raise InputError(f"--within {within}: give a share between 0 and 1, 0.01 for one point")
    if confidence is not None and question.kind == BEST:
        raise InputError("--best-accuracy has no limit to be sure of: leave out --confidence")
    if confidence is not None and not 0.5 <= confidence < 1:
        raise InputError(f"--confidence {confidence}: give a probability of 0.5 to below 1, 0.95")
    return replace(question, within=within or WITHIN, confidence=confidence)


def limit(max_cost: str | None, pricer: Pricer) -> float | None:
    """`--max-cost` in the pricer's unit."""
    from cascade_cli.budgets import parse_cost

    return None if max_cost is None else parse_cost(max_cost, pricer.prices)


def bounded(question: Question, most: float | None, models: Sequence[str]) -> Question:
    """The question with its budget; InputError where its model is none of those searched."""
    from cache.errors import one_of
    from stages.questions import COST

    if question.model is not None and question.model not in models:
        raise one_of("model to match", question.model, models)
    return replace(question, value=most) if question.kind == COST else question
