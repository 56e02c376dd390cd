"""Every rule and final answer on one pair, each with its own exactly fitted λ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from stages.cascade import OBJECTIVES, Ordering
from stages.deferral.fitted_cascade import (
    DeferralResult,
    Fitted,
    Progress,
    RuleFigures,
    Side,
    Swept,
    cross_fitted,
)
from stages.deferral.model_outputs import Pair
from stages.deferral.rules import RULES, rule_of
from stages.deferral.spec import FINALS, Rule, RuleView


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

    def fitted(fitting: Pair, reporting: Pair) -> Iterator[Fitted]:
        for name, finals in rules.items():
            rule = rule_of(name)
            for group in [[final] for final in finals] if rule.per_final else [finals]:
                judged = rule.judge(fitting, reporting, FINALS[group[0]])
                views = (judged.fitting, judged.reporting)
                swept = Swept(_side(rule, views[0], fitting), _side(rule, views[1], reporting))
                t_a, t_b = judged.temperatures
                for final in group:
                    about = replace(swept.about(name, final), temperature_1=t_a, temperature_2=t_b)
                    fit_gain, gain = (FINALS[final].gain(view, rule.score) for view in views)
                    yield from swept.fitted(about, fit_gain, gain, objectives)

    return cross_fitted(fitted, fitting, reporting, progress)


def _side(rule: Rule, view: RuleView, pair: Pair) -> Side:
    return Side(Ordering.of(rule.score, view.score), pair.a.correct, pair.correct)
