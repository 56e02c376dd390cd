"""A row of the table as a cascade that can be deployed, with the coefficients of its score."""

from __future__ import annotations

from collections.abc import Mapping

from cache import InputError, Store
from stages.cascade import Cascade
from stages.deferral.committees import COMMITTEES
from stages.deferral.from_cache import Sides
from stages.deferral.rules import rule_of
from stages.deferral.spec import FINALS
from stages.deferral.stage import RuleRow
from stages.scores import SCORES, Coefficients, ScoreSet
from stages.threshold import FitPlan

# How the scores of these rules are called where they are made of another.
_LOGITS = ("margin", "energy")
_LEARNED = "learned"


def deployed(store: Store, reported: ScoreSet, plan: FitPlan, row: RuleRow) -> Cascade:
    """The cascade of a row, fitted as it was; InputError for what no policy holds."""
    names = [*row.model_1.split(","), str(row.model_2)]
    if row.rule in COMMITTEES:
        if len(names) > 3:
            raise InputError(
                f"a policy holds up to three models, and {len(names)} vote and answer: ask for "
                "two that vote"
            )
        return Cascade.committee(names[:-1], names[-1], row.threshold)
    name = _score(row.rule)
    fitted = _coefficients(store, reported, plan, row, names) if name != row.rule else {}
    how = {"postcheck": row.final == "postcheck", "ensemble": row.final == "ensemble"}
    return Cascade.of(names, name, row.threshold, **how, coefficients=fitted)


def _score(rule: str) -> str:
    """As cascades call it: temperature(maxp), say, of maxp_t."""
    if rule in SCORES:
        return rule
    if rule in _LOGITS:
        return f"logits({rule})"
    if rule == _LEARNED:
        return f"{rule}(maxp)"
    if rule.endswith("_t") and rule.removesuffix("_t") in SCORES:
        return f"temperature({rule.removesuffix('_t')})"
    raise InputError(f"the rule {rule} comes with a package, which a policy's file cannot carry")


def _coefficients(
    store: Store, reported: ScoreSet, plan: FitPlan, row: RuleRow, names: list[str]
) -> Mapping[str, Coefficients]:
    """By model, those of the images that fit λ."""
    if row.rule in _LOGITS:
        return {name: {} for name in names}
    if row.rule != _LEARNED:
        both = (row.temperature_1, row.temperature_2)
        return {name: {"temperature": float(t or 1)} for name, t in zip(names, both, strict=True)}
    a, b = map(reported.index, names)
    sides = Sides.of(store, reported, plan, logits=True)
    found = rule_of(row.rule).judge(*sides.pair(a, b), FINALS[row.final])
    known = zip(names, found.coefficients, strict=True)
    return {name: each for name, each in known if each is not None}
