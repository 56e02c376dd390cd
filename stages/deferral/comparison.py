"""Every rule and final answer on one pair, each with its own exactly fitted λ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from stages.cascade import NEVER, OBJECTIVES, Limit, Ordering
from stages.deferral.fitted_cascade import (
    DeferralResult,
    Fitted,
    FittedRule,
    Progress,
    RuleFigures,
    Swept,
    cross_fitted,
    most_accurate,
)
from stages.deferral.model_outputs import Pair
from stages.deferral.rules import RULES, rule_of
from stages.deferral.spec import FINALS


def compare(
    fitting: Pair,
    reporting: Pair,
    rules: Sequence[str] = tuple(RULES),
    finals: Sequence[str] = tuple(FINALS),
    objectives: Sequence[str] = OBJECTIVES,
) -> Iterator[RuleFigures]:
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
) -> Iterator[Fitted]:
    """Fitted on one set of images and applied to another."""
    for name, finals in rules.items():
        yield from _of_rule(name, fitting, reporting, finals, objectives)


def _of_rule(
    name: str, fitting: Pair, reporting: Pair, finals: Sequence[str], objectives: Sequence[str]
) -> Iterator[Fitted]:
    rule = rule_of(name)
    accuracy_1, accuracy_2 = (float(correct.mean()) for correct in reporting.correct)
    groups = [[final] for final in finals] if rule.per_final else [list(finals)]
    for group in groups:
        judged = rule.judge(fitting, reporting, FINALS[group[0]])
        temperature_1, temperature_2 = judged.temperatures
        swept = Swept(
            Ordering.of(rule.score, judged.fitting.score),
            Ordering.of(rule.score, judged.reporting.score),
            (fitting.a.correct, reporting.a.correct),
            most_accurate(fitting.correct, reporting.correct),
        )
        for final in group:
            about = FittedRule(
                rule=name,
                final=final,
                threshold=Limit(NEVER),
                n=len(reporting),
                fit_n=len(fitting),
                accuracy_1=accuracy_1,
                accuracy_2=accuracy_2,
                temperature_1=temperature_1,
                temperature_2=temperature_2,
            )
            views = (judged.fitting, judged.reporting)
            fit_gain, gain = (FINALS[final].gain(view, rule.score) for view in views)
            yield from swept.fitted(about, fit_gain, gain, objectives)
