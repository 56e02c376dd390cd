"""The question that a search answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from cache import InputError, Store, one_of
from cascade_cli.inputs.words import parse_cost
from cascade_cli.options.common import MOST
from cascade_cli.options.costs import CostOptions
from cascade_cli.options.decision import LossOptions
from cascade_cli.options.question import QuestionOptions
from stages import costs as costs_stage
from stages.costs import Pricer, current
from stages.scores import ScoreSet, with_nobody, without_nobody
from stages.search import (
    ABSTAINED,
    ACCURACY,
    COST,
    ENERGY,
    LATENCY,
    LOSS,
    MATCH,
    USAGE,
    WITHIN,
    Goal,
    Question,
)


def flags_given(options: QuestionOptions) -> list[str]:
    """The flags that ask something."""
    given = {f"--{name.replace('_', '-')}": value for name, value in vars(options).items()}
    return [flag for flag, value in given.items() if value not in (None, False, [])]


def check_question(
    options: QuestionOptions, judged: LossOptions = LossOptions(), unsure: bool = False
) -> None:
    """InputError for a margin or a confidence of nothing, and for what does not go with a loss;
    `unsure`: a last stage is no model, whose cost is one."""
    most = judged.max_loss
    if judged.loss is None and most is not None and not unsure:
        raise InputError("--max-loss is of what answers cost: give --loss FILE or top5 too")
    if judged.loss is not None and options.min_accuracy is not None:
        raise InputError("--min-accuracy goes without --loss: give --max-loss")
    if most is not None and not 0 <= most < math.inf:
        raise InputError(f"--max-loss {most}: give a mean loss of 0 or more")
    within, confidence = options.within, options.confidence
    asked = [flag for flag in flags_given(options) if flag not in ("--within", "--confidence")]
    asked += [] if most is None else ["--max-loss"]
    if within is not None and options.match is None and asked:
        raise InputError(f"--within is the margin of --match: leave out one of it and {asked[0]}")
    if within is not None and not 0 < within < 1:
        raise InputError(f"--within {within}: give a share above 0 and below 1, 0.01 for one point")
    if confidence is not None and asked == ["--best-accuracy"]:
        raise InputError("--best-accuracy has no limit to be sure of: leave out --confidence")
    if confidence is not None and not 0.5 <= confidence < 1:
        raise InputError(f"--confidence {confidence}: give a probability of 0.5 to below 1, 0.95")


def tested(options: QuestionOptions, judged: LossOptions) -> bool:
    """Whether the answer is tested on images without a part in the choice."""
    asked = set(flags_given(options)) - {"--within"}
    asked |= set() if judged.max_loss is None else {"--max-loss"}
    return not asked or bool(asked & {"--match", "--confidence"})


def question_of(
    store: Store,
    scores: ScoreSet,
    options: QuestionOptions,
    pricer: Pricer,
    costs: CostOptions,
    most_loss: float | None = None,
    most_abstained: float | None = None,
) -> Question:
    """The question, in the pricer's unit and those of its other limits; InputError where a model or
    a device is not known. Its limits are of the models of `scores`."""
    goals = list(_goals(options, scores.models_that_run, pricer))
    if scores.nobody is not None:  # a person's accuracy counts, too
        goals = [_as_loss(goal) if goal.kind == ACCURACY else goal for goal in goals]
    most = ((LOSS, most_loss), (ABSTAINED, most_abstained))
    goals += [Goal(kind, value) for kind, value in most if value is not None]
    for kind, texts in ((LATENCY, options.max_latency), (ENERGY, options.max_energy)):
        goals += [_capped(store, scores, kind, text, pricer, costs) for text in texts or ()]
    return Question.of(goals, options.best_accuracy, options.confidence)


def _as_loss(goal: Goal) -> Goal:
    """An accuracy, where an error costs 1."""
    return Goal(LOSS, float(1 - Fraction(str(goal.number))))


def _goals(options: QuestionOptions, models: Sequence[str], pricer: Pricer) -> Iterator[Goal]:
    model, within, most = options.match, options.within or WITHIN, cost_limit(options, pricer)
    if model is not None and model not in models:
        raise one_of("model to match", model, models)
    if model is not None or options.within is not None:
        yield Goal(MATCH, model=model, within=within)
    for kind, value in (
        (ACCURACY, options.min_accuracy),
        (COST, most),
        (USAGE, options.max_usage),
    ):
        if value is not None:
            yield Goal(kind, value)


def cost_limit(options: QuestionOptions, pricer: Pricer) -> float | None:
    """`--max-cost` in the pricer's unit."""
    return None if options.max_cost is None else parse_cost(options.max_cost, pricer.prices)


@dataclass(frozen=True)
class _Placed:
    """AMOUNT, AMOUNT@DEVICE, AMOUNT@DEVICE:BATCH or AMOUNT@:BATCH; a device's name may hold a
    colon."""

    amount: str
    device: str | None = None
    batch_size: int | None = None

    @classmethod
    def of(cls, text: str, devices: Sequence[str]) -> _Placed:
        amount, _, place = text.partition("@")
        device, colon, size = place.rpartition(":")
        if place in devices or not colon:
            return cls(amount, place or None)
        if not size.isdecimal() or not 1 <= int(size) <= MOST:
            raise InputError(f"{text!r}: after a device and a colon comes a batch size, 12ms@gpu:8")
        return cls(amount, device or None, int(size))


_KINDS = {LATENCY: "latency", ENERGY: "joules"}


def _capped(
    store: Store, scores: ScoreSet, kind: str, text: str, pricer: Pricer, costs: CostOptions
) -> Goal:
    """Where no device is named, of the one whose costs are compared, if it tells of this kind. A
    person keeps no device busy."""
    if scores.nobody is not None:
        scores = with_nobody(scores, replace(scores.nobody, price=0.0, kind=None))
    cost, rows = _KINDS[kind], current(store, without_nobody(scores))
    devices = costs_stage.devices_of(rows, scores.models_that_run)
    placed = _Placed.of(text, devices)
    device = placed.device or costs.cost_device
    if device is None and pricer.prices.device in devices:
        known = costs_stage.known(rows, {}, scores.models_that_run, (cost,), pricer.prices.device)
        device = pricer.prices.device if next(known, None) else None
    size = placed.batch_size or costs.batch_size
    found = costs_stage.pricer(store, scores, None, cost, device, batch_size=size)
    if found is None:
        raise InputError(f"--{kind} {text}: no {cost} of these models is known")
    return Goal(kind, parse_cost(placed.amount, found.prices, f"--{kind}"), pricer=found)
