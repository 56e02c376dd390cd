"""Every deferral rule by its name: when does B run?

A rule gives every image of the fitting and of the reported split one number; λ is then swept
exactly (`stages.cascade`), so that all rules compare fairly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cache import one_of
from stages import plugins, scores
from stages.deferral.committees import COMMITTEES
from stages.deferral.model_outputs import Pair
from stages.deferral.spec import (
    LABELS,
    LOGITS,
    SCORES_ONLY,
    Final,
    Judge,
    Rule,
    RuleScores,
    RuleView,
)
from stages.plugins import Added, Extras, extras, misfit, misnamed, of_this_project
from stages.scores import LABEL_FREE, SCORES, Score


def _plain(name: str) -> Judge:
    """A score of the softmax or the logits as they are."""
    return lambda fitting, reporting, _: RuleScores(
        RuleView.of(fitting, name), RuleView.of(reporting, name)
    )


def _tempered(name: str) -> Judge:
    """The same score after temperature scaling of both models (Guo et al. 2017)."""

    def judge(fitting: Pair, reporting: Pair, _: Final) -> RuleScores:
        t_a, t_b = fitting.a.tempered, fitting.b.tempered
        fitted, reported = fitting.at(t_a, t_b), reporting.at(t_a, t_b)
        return RuleScores(RuleView.of(fitted, name), RuleView.of(reported, name), (t_a, t_b))

    return judge


def _guarded(one: Added) -> Rule:
    """The rule; InputError, naming whose it is, where its function does not keep its word."""
    what = f"its rule {one.item.name}"

    def judge(fitting: Pair, reporting: Pair, final: Final) -> RuleScores:
        with one.blamed(what):
            found = one.item.judge(fitting, reporting, final)
            wrong = _wrong(found.fitting, len(fitting)) or _wrong(found.reporting, len(reporting))
        if wrong:
            raise one.fault(f"{what} gives {wrong}")
        return found

    return replace(one.item, judge=judge)


def _wrong(view: RuleView, n: int) -> str:
    for numbers in (view.score, view.check_a, view.check_b):
        if numbers.shape != (n,) or numbers.dtype != np.float64:
            return f"{numbers.dtype} {list(numbers.shape)} for {n} images, not float64 [{n}]"
        if not np.isfinite(numbers).all():
            return f"{numbers[~np.isfinite(numbers)][0]}, which is no finite number"
    return ""


# Rules of modules of their own, by name as `module:attribute`.
MODULES: Mapping[str, str] = {
    "learned": "stages.deferral.learned:LEARNED",
}
_OF_SCORES = (
    *(Rule(name, SCORES[name], (SCORES_ONLY,), _plain(name)) for name in LABEL_FREE),
    *(Rule(name, Score(name, +1), LOGITS, _plain(name)) for name in ("margin", "energy")),
    *(Rule(f"{name}_t", SCORES[name], (*LOGITS, LABELS), _tempered(name)) for name in LABEL_FREE),
)
RULES: Mapping[str, Rule] = {rule.name: rule for rule in _OF_SCORES} | {
    name: _guarded(one) for name, one in of_this_project(plugins.RULES, MODULES).items()
}
_TAKEN = (*RULES, *COMMITTEES)
_NEEDS = {SCORES_ONLY, *LOGITS, LABELS}


def rule_of(name: str) -> Rule:
    """The rule of this name, or a score as one; InputError where there is none. Packages are asked
    last."""
    if name in RULES:
        return RULES[name]
    others = scores.functions(_TAKEN)
    if name in others:
        return Rule(name, scores.named(name), (SCORES_ONLY,), _plain(name))
    extra = _added({*_TAKEN, *SCORES, *others})
    if name in extra.items:
        return _guarded(extra.items[name])
    scores.check_packages(_TAKEN)
    extra.check()
    raise scores.UnknownScoreError(str(one_of("rule", name, [*RULES, *others, *extra.items])))


def scores_among(names: Sequence[str]) -> list[str]:
    """Those of the rules' names that are scores without a column of the scores' table."""
    asked = [name for name in names if name not in RULES]
    there = scores.functions(_TAKEN) if asked else {}
    return [name for name in asked if name in there]


def _added(taken: Collection[str]) -> Extras:
    """By name; left out is what has a name that is taken or none, or needs what nothing gives."""
    return extras(plugins.RULES, Rule, "rule", taken, _unusable)


def _unusable(rule: Rule) -> str | None:
    if wrong := misnamed(rule.name, "rule") or misfit(rule):
        return wrong
    unknown = ", ".join({*rule.needs} - _NEEDS)
    return f"its rule {rule.name} needs {unknown}, which is not known" if unknown else None
