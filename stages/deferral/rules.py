"""Deferral rules, one row each: from what is known of A, how sure is it, and when does B run?

A rule gives every image of the fitting and of the reported split one number; λ is then swept
exactly (`stages.cascade`), so that all rules compare fairly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from cache import one_of
from stages.cascade import takes_b
from stages.deferral.learned import predicted_gains
from stages.deferral.outputs import Pair
from stages.scores import SCORES, Score, UnknownScoreError, check_packages, known, named


@dataclass(frozen=True)
class RuleView:
    """A rule's numbers on the N images of one split, float64 [N] each.

    A is trusted by `score`; post-check compares `check_a` with `check_b`. `pair` is what answers,
    its logits scaled where the rule scales them.
    """

    pair: Pair
    score: np.ndarray
    check_a: np.ndarray
    check_b: np.ndarray


@dataclass(frozen=True)
class RuleScores:
    """`about` are numbers fitted on the way: temperatures."""

    fitting: RuleView
    reporting: RuleView
    about: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Final:
    """Which answer stands once B has run: `correct` bool [N] from a rule's view."""

    needs: tuple[str, ...]
    correct: Callable[[RuleView, Score], np.ndarray]

    def gain(self, view: RuleView, score: Score) -> np.ndarray:
        """int8 [N]: correct_final − correct_A once B has run; what `stages.cascade` takes."""
        return self.correct(view, score).view(np.int8) - view.pair.a.correct.view(np.int8)


def _postcheck(view: RuleView, score: Score) -> np.ndarray:
    takes = takes_b(score, view.check_a, view.check_b, True)
    return np.where(takes, view.pair.b.correct, view.pair.a.correct)


# What must be known, beside B's correctness.
SCORES_ONLY, LOGITS_A, LOGITS_B, LABELS = "scores", "logits of A", "logits of B", "fit labels"
_LOGITS = (LOGITS_A, LOGITS_B)
FINALS: Mapping[str, Final] = {
    "b": Final((SCORES_ONLY,), lambda view, score: view.pair.b.correct),
    "postcheck": Final((SCORES_ONLY,), _postcheck),
    "ensemble": Final(_LOGITS, lambda view, score: view.pair.ensemble == view.pair.a.labels),
}

Judge = Callable[[Pair, Pair, Final], RuleScores]


@dataclass(frozen=True)
class Rule:
    """`score` says which way is surer; `per_final`: the numbers depend on which answer stands."""

    score: Score
    needs: tuple[str, ...]
    judge: Judge
    per_final: bool = False


def _view(pair: Pair, name: str) -> RuleView:
    s_a = pair.a.scalar(name)
    return RuleView(pair, s_a, s_a, pair.b.scalar(name))


def _plain(name: str) -> Judge:
    """A score of the softmax or the logits as they are."""
    return lambda fitting, reporting, _: RuleScores(_view(fitting, name), _view(reporting, name))


def _tempered(name: str) -> Judge:
    """The same score after temperature scaling of both models (Guo et al. 2017)."""

    def judge(fitting: Pair, reporting: Pair, _: Final) -> RuleScores:
        t_a, t_b = fitting.a.tempered, fitting.b.tempered
        fitted, reported = fitting.at(t_a, t_b), reporting.at(t_a, t_b)
        about = {"temperature_1": t_a, "temperature_2": t_b}
        return RuleScores(_view(fitted, name), _view(reported, name), about)

    return judge


def _learned(fitting: Pair, reporting: Pair, final: Final) -> RuleScores:
    """Surest where least is predicted to be gained; λ = −μ·cost defers what is worth its price."""
    views = (_view(fitting, "maxp"), _view(reporting, "maxp"))
    target = final.gain(views[0], SCORES["maxp"])
    gains = predicted_gains(fitting.a, target, reporting.a)
    fitted, reported = (replace(v, score=-g) for v, g in zip(views, gains, strict=True))
    return RuleScores(fitted, reported)


_MARGIN, _ENERGY = Score("margin", +1), Score("energy", +1)
_LEARNED = Score("learned", +1)
_TEMPERED = (*_LOGITS, LABELS)
RULES: Mapping[str, Rule] = {
    "maxp": Rule(SCORES["maxp"], (SCORES_ONLY,), _plain("maxp")),
    "difference": Rule(SCORES["difference"], (SCORES_ONLY,), _plain("difference")),
    "entropy": Rule(SCORES["entropy"], (SCORES_ONLY,), _plain("entropy")),
    "margin": Rule(_MARGIN, _LOGITS, _plain("margin")),
    "energy": Rule(_ENERGY, _LOGITS, _plain("energy")),
    "maxp_t": Rule(SCORES["maxp"], _TEMPERED, _tempered("maxp")),
    "difference_t": Rule(SCORES["difference"], _TEMPERED, _tempered("difference")),
    "entropy_t": Rule(SCORES["entropy"], _TEMPERED, _tempered("entropy")),
    "learned": Rule(_LEARNED, (LOGITS_A, LABELS), _learned, per_final=True),
}


def rule_of(name: str) -> Rule:
    """The rule of this name; a score that a package adds is one. InputError where there is none."""
    if name in RULES:
        return RULES[name]
    added = [each for each in known() if each not in SCORES]
    if name not in added:
        check_packages()
        raise UnknownScoreError(str(one_of("rule", name, [*RULES, *added])))
    return Rule(named(name), (SCORES_ONLY,), _plain(name))
