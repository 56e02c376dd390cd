"""The question that a search answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cache import InputError, one_of
from cascade_cli.inputs.words import parse_cost
from cascade_cli.options.question import QuestionOptions
from stages.costs import Pricer
from stages.search import ACCURACY, BEST, COST, MATCH, WITHIN, Question


def questions_asked(options: QuestionOptions) -> dict[str, Question]:
    """The questions asked, by flag; how much `--max-cost` is, is known with the costs."""
    accuracy, model = options.min_accuracy, options.match
    asked = {
        "--min-accuracy": (accuracy, Question(ACCURACY, accuracy)),
        "--max-cost": (options.max_cost, Question(COST)),
        "--match": (model, Question(MATCH, model=model)),
        "--best-accuracy": (options.best_accuracy or None, Question(BEST)),
    }
    return {flag: question for flag, (value, question) in asked.items() if value is not None}


def one_question(options: QuestionOptions) -> Question:
    """The one question, with its margin and confidence; InputError where there are several."""
    asked, within, confidence = questions_asked(options), options.within, options.confidence
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


def cost_limit(max_cost: str | None, pricer: Pricer) -> float | None:
    """`--max-cost` in the pricer's unit."""
    return None if max_cost is None else parse_cost(max_cost, pricer.prices)


def bounded_question(question: Question, most: float | None, models: Sequence[str]) -> Question:
    """The question with its budget; InputError where its model is none of those searched."""
    if question.model is not None and question.model not in models:
        raise one_of("model to match", question.model, models)
    return replace(question, value=most) if question.kind == COST else question
