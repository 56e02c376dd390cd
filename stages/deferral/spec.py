"""What a deferral rule is: how sure is A, by what is known of it, and which answer then stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from stages.cascade import takes_b
from stages.deferral.model_outputs import Pair
from stages.scores import Coefficients, Score


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

    @classmethod
    def of(cls, pair: Pair, score: str) -> RuleView:
        """A score of the softmax or the logits, as the models give it."""
        s_a = pair.a.scalar(score)
        return cls(pair, s_a, s_a, pair.b.scalar(score))


@dataclass(frozen=True)
class RuleScores:
    """`temperatures` and other `coefficients`: of both models, where they were fitted on the
    way."""

    fitting: RuleView
    reporting: RuleView
    temperatures: tuple[float | None, float | None] = (None, None)
    coefficients: tuple[Coefficients | None, Coefficients | None] = (None, None)


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
LOGITS = (LOGITS_A, LOGITS_B)
FINALS: Mapping[str, Final] = {
    "b": Final((SCORES_ONLY,), lambda view, score: view.pair.b.correct),
    "postcheck": Final((SCORES_ONLY,), _postcheck),
    "ensemble": Final(LOGITS, lambda view, score: view.pair.ensemble == view.pair.a.labels),
}

Judge = Callable[[Pair, Pair, Final], RuleScores]


@dataclass(frozen=True)
class Rule:
    """`score` says which way is surer; `needs` are SCORES_ONLY, LOGITS_A, LOGITS_B, LABELS.

    judge: the fitting and the reported pair, and which answer stands → the numbers on both.
    `per_final`: these depend on which answer stands.
    """

    name: str
    score: Score
    needs: tuple[str, ...]
    judge: Judge
    per_final: bool = False
