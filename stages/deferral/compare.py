"""Every rule and final answer on one pair, each with its own exactly fitted λ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stages.deferral.decided import Decided, Part, Row, Swept
from stages.deferral.outputs import Pair
from stages.deferral.rules import FINALS, RULES, Rule, rule_of
from stages.sweep import OBJECTIVES, Ordering

Key = tuple[str, str]  # final answer, objective
_NO_TEMPERATURES: Row = {"temperature_1": None, "temperature_2": None}


def compare(
    fitting: Pair,
    reporting: Pair,
    rules: Sequence[str] = tuple(RULES),
    finals: Sequence[str] = tuple(FINALS),
    objectives: Sequence[str] = OBJECTIVES,
) -> Iterator[Row]:
    """One row per rule, final answer and objective.

    `accuracy` and `usage` are those of λ on the reported images, `fit_accuracy` and `fit_usage` on
    the fitting images. Give the same Pair twice to cross-fit: `crossfit_accuracy` and
    `crossfit_usage`, else null, are then the honest figures, each fold decided with the rule and
    the λ of the others.
    """
    for name in rules:
        for decided in decide(fitting, reporting, name, finals, objectives):
            yield decided.row


def decide(
    fitting: Pair,
    reporting: Pair,
    rule: str,
    finals: Sequence[str] = tuple(FINALS),
    objectives: Sequence[str] = OBJECTIVES,
) -> Iterator[Decided]:
    """The rows of one rule, each with its decisions image by image."""
    folds = fitting.folds if reporting is fitting else []
    held_out = [
        (rows, dict(_parts(rule_of(rule), others, own, finals, objectives)))
        for rows, others, own in folds
    ]
    for key, (about, part) in _parts(rule_of(rule), fitting, reporting, finals, objectives):
        parts = tuple(fold[key][1].at(rows) for rows, fold in held_out)
        yield Decided({"rule": rule} | about, part, parts)


def _parts(
    rule: Rule, fitting: Pair, reporting: Pair, finals: Sequence[str], objectives: Sequence[str]
) -> Iterator[tuple[Key, tuple[Row, Part]]]:
    """Fitted on one set of images and applied to another."""
    groups = [[name] for name in finals] if rule.per_final else [list(finals)]
    for group in groups:
        judged = rule.judge(fitting, reporting, FINALS[group[0]])
        about = _alone(reporting) | _NO_TEMPERATURES | dict(judged.about)
        swept = Swept(
            Ordering.of(rule.score, judged.fitting.score),
            Ordering.of(rule.score, judged.reporting.score),
            (fitting.a.correct, reporting.a.correct),
        )
        for name in group:
            views = (judged.fitting, judged.reporting)
            fit_gain, gain = (FINALS[name].gain(view, rule.score) for view in views)
            for row, part in swept.fitted(fit_gain, gain, objectives):
                yield (name, row["objective"]), ({"final": name} | row | about, part)


def _alone(reporting: Pair) -> Row:
    return {
        "accuracy_1": float(reporting.a.correct.mean()),
        "accuracy_2": float(reporting.b.correct.mean()),
    }
