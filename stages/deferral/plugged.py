"""Deferral rules that installed packages add; what one does wrong is told in one line."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from stages import plugins
from stages.deferral.model_outputs import Pair
from stages.deferral.spec import LABELS, LOGITS, SCORES_ONLY, Final, Rule, RuleScores, RuleView
from stages.plugins import Added, Extras, extras, misfit, misnamed

_NEEDS = {SCORES_ONLY, *LOGITS, LABELS}


def added(taken: Collection[str]) -> Extras:
    """By name; left out is what has a name that is taken or none, or needs what nothing gives."""
    return extras(plugins.RULES, Rule, "rule", taken, _unusable)


def _unusable(rule: Rule) -> str | None:
    wrong = misnamed(rule.name, "rule") or misfit(rule)
    if wrong is None and not _NEEDS.issuperset(rule.needs):
        wrong = (
            f"its rule {rule.name} needs {', '.join({*rule.needs} - _NEEDS)}, which is not known"
        )
    return wrong


def guarded(one: Added) -> Rule:
    """The rule; InputError, naming the package, where its function does not keep its word."""
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
