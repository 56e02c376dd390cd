"""Stage after stage, image by image: the only place where a cascade is run through.

The models may be rows of a cache or callables that run: what asks them decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from stages.cascade.rule import takes_b, trusted
from stages.cascade.values import Cascade, Limit, Outcome
from stages.scores import named
from stages.softmax import Score

# (stage, rows intp [m]) → answers int32 [m] and their scores float64 [m].
Answers = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
# How each stage but the last is trusted.
Rules = Sequence[tuple[Score, Limit]]


def run_stages(n: int, answers: Answers, rules: Rules, postcheck: bool) -> Outcome:
    """Decide n images, stage by stage; a stage is asked only for those that reach it.

    With post-check a stage's answer replaces the one at hand only where it is strictly surer.
    """
    rows = np.arange(n)
    stage, answered = np.zeros((2, n), np.int8)
    scores = np.full((1 + len(rules), n), np.nan)
    first, scores[0] = answers(0, rows)
    prediction = first.copy()
    for j, (score, limit) in enumerate(rules, 1):
        rows = rows[~trusted(score, scores[j - 1, rows], limit)]
        if not len(rows):
            break
        fresh, own = answers(j, rows)
        taken = takes_b(score, scores[answered[rows], rows], own, postcheck)
        prediction[rows[taken]], answered[rows[taken]] = fresh[taken], j
        stage[rows], scores[j, rows] = j, own
    return Outcome(stage, answered, prediction, scores)


class Scored(Protocol):
    """What `decide` reads of M models' answers to the same N images, as a ScoreSet holds them."""

    @property
    def predictions(self) -> np.ndarray: ...
    @property
    def correct(self) -> np.ndarray: ...
    def index(self, model: str) -> int: ...
    def score(self, name: str, model: int) -> np.ndarray: ...


def decide(scores: Scored, cascade: Cascade) -> Outcome:
    """Decide every image by the rule, model by model, from what is known of all of them."""
    models = [scores.index(model) for model in cascade.models]
    n = scores.correct.shape[1]
    sure = [
        scores.score(stage.score, m) if stage.score else np.full(n, np.nan)
        for stage, m in zip(cascade.stages, models, strict=True)
    ]
    rules = [(named(str(stage.score)), stage.limit) for stage in cascade.stages if stage.limit]

    def answers(j: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return scores.predictions[models[j]][rows], sure[j][rows]

    outcome = run_stages(n, answers, rules, cascade.postcheck)
    return replace(outcome, correct=np.choose(outcome.answered, scores.correct[models]))
