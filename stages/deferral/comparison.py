"""Every rule and final answer on one pair, each with its own exactly fitted λ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from stages.cascade import OBJECTIVES, Ordering
from stages.deferral.fitted_cascade import (
    DeferralResult,
    FittedPart,
    Progress,
    Row,
    Swept,
    cross_fitted,
    most_accurate,
)
from stages.deferral.model_outputs import Pair
from stages.deferral.rules import RULES, rule_of
from stages.deferral.spec import FINALS, Rule

_NO_TEMPERATURES: Row = {"temperature_1": None, "temperature_2": None}


def compare(
    fitting: Pair,
    reporting: Pair,
    rules: Sequence[str] = tuple(RULES),
    finals: Sequence[str] = tuple(FINALS),
    objectives: Sequence[str] = OBJECTIVES,
) -> Iterator[Row]:
    """One row per rule, final answer and objective.

    `fit_accuracy` and `fit_usage` are those of the rule and its λ on the fitting images, `accuracy`
    and `usage`, with 95 % intervals, on the reported ones. Give the same Pair twice to cross-fit:
    `accuracy` is then that of images without a part in the choice, the mean of ten repeats of five
    folds, each decided with the rule and the λ of the others.
    """
    wanted = dict.fromkeys(rules, finals)
    for decided in decide(fitting, reporting, wanted, objectives):
        yield decided.row


def decide(
    fitting: Pair,
    reporting: Pair,
    rules: Mapping[str, Sequence[str]],
    objectives: Sequence[str] = OBJECTIVES,
    progress: Progress = lambda done, total: None,
) -> Iterator[DeferralResult]:
    """The same, image by image; `rules` maps each to its final answers."""
    fitted = partial(_fitted, rules=rules, objectives=objectives)
    return cross_fitted(fitted, fitting, reporting, progress)


def _fitted(
    fitting: Pair,
    reporting: Pair,
    rules: Mapping[str, Sequence[str]],
    objectives: Sequence[str],
) -> Iterator[tuple[Row, FittedPart]]:
    """Fitted on one set of images and applied to another."""
    for name, finals in rules.items():
        for about, part in _of_rule(rule_of(name), fitting, reporting, finals, objectives):
            yield {"rule": name} | about, part


def _of_rule(
    rule: Rule, fitting: Pair, reporting: Pair, finals: Sequence[str], objectives: Sequence[str]
) -> Iterator[tuple[Row, FittedPart]]:
    groups = [[name] for name in finals] if rule.per_final else [list(finals)]
    for group in groups:
        judged = rule.judge(fitting, reporting, FINALS[group[0]])
        about = _alone(reporting) | _NO_TEMPERATURES | dict(judged.about)
        swept = Swept(
            Ordering.of(rule.score, judged.fitting.score),
            Ordering.of(rule.score, judged.reporting.score),
            (fitting.a.correct, reporting.a.correct),
            most_accurate(fitting.correct, reporting.correct),
        )
        for name in group:
            views = (judged.fitting, judged.reporting)
            fit_gain, gain = (FINALS[name].gain(view, rule.score) for view in views)
            for row, part in swept.fitted(fit_gain, gain, objectives):
                yield {"final": name} | row | about, part


def _alone(reporting: Pair) -> Row:
    accuracy_1, accuracy_2 = (float(correct.mean()) for correct in reporting.correct)
    return {"accuracy_1": accuracy_1, "accuracy_2": accuracy_2}
