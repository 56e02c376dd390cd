"""Stage after stage, image by image: the only place where a cascade is run through.

The models may be rows of a cache or callables that run: what asks them decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from stages.cascade.rule import takes_b, trusted
from stages.cascade.values import Cascade, Limit, Outcome
from stages.scores import Score, named

# (stage, bool [n], which of the images reach it) → answers int32 [n] and their scores float64 [n],
# of other images anything.
Answers = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
# How each stage but the last is trusted.
Rules = Sequence[tuple[Score, Limit]]


def run_stages(
    n: int, answers: Answers, rules: Rules, postcheck: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(stage, answered, prediction) as in Outcome, of n images; a stage that none reaches is not
    asked. With post-check its answer replaces the one at hand only where it is strictly surer."""
    stage, answered = np.zeros(n, np.int8), np.zeros(n, np.int8)
    going = np.ones(n, bool)
    prediction, own = answers(0, going)
    surest = own
    for j, (score, limit) in enumerate(rules, 1):
        going = going & ~trusted(score, own, limit)
        if not going.any():
            break
        fresh, own = answers(j, going)
        taken = going
        if postcheck:
            taken = going & takes_b(score, surest, own, postcheck)
            ours = taken.view(np.int8)
            answered = ours if j == 1 else np.maximum(answered, np.int8(j) * ours)
            surest = np.where(taken, own, surest) if j < len(rules) else surest
        prediction = np.where(taken, fresh, prediction)
        stage += going
    return stage, answered if postcheck else stage, prediction


class Scored(Protocol):
    """What `decide` reads of M models' answers to the same N images, as a ScoreSet holds them."""

    @property
    def labels(self) -> np.ndarray: ...
    @property
    def predictions(self) -> np.ndarray: ...
    @property
    def correct(self) -> np.ndarray: ...
    def index(self, model: str) -> int: ...
    def score(self, name: str, model: int) -> np.ndarray: ...


def decide(scores: Scored, cascade: Cascade) -> Outcome:
    """Decide every image by the rule, model by model, from what is known of all of them."""
    n, predictions, sure, rules = len(scores.labels), [], [], []
    for each in cascade.stages:
        m = scores.index(each.model)
        predictions.append(scores.predictions[m])
        sure.append(scores.score(each.score, m) if each.score else np.full(n, np.nan))
        if each.score and each.limit:
            rules.append((named(each.score), each.limit))

    def answers(j: int, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return predictions[j], sure[j]

    stage, answered, prediction = run_stages(n, answers, rules, cascade.postcheck)
    return Outcome(stage, answered, prediction, sure, prediction == scores.labels)
