"""Stage after stage, image by image: the only place where a cascade is run through.

The models may be rows of a cache or callables that run: what asks them decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from stages.cascade.committee import votes
from stages.cascade.rule import takes_b, trusted
from stages.cascade.values import Cascade, Limit, Outcome, Stage
from stages.scores import UNANSWERED, VOTE_SHARE, Loss, Score, checked_by, named

# (stage, bool [n], which of the images reach it) → answers int32 [n], the scores that λ is of and
# those that a post-check compares, float64 [n], of other images anything.
Answers = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
# How each stage but the last is trusted.
Rules = Sequence[tuple[Score, Limit]]


def run_stages(
    n: int, answers: Answers, rules: Rules, postcheck: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(stage, answered, prediction) as in Outcome, of n images; a stage that none reaches is not
    asked. With post-check its answer replaces the one at hand only where it is strictly surer."""
    stage, answered = np.zeros(n, np.int8), np.zeros(n, np.int8)
    going = np.ones(n, bool)
    prediction, own, surest = answers(0, going)
    for j, (score, limit) in enumerate(rules, 1):
        going = going & ~trusted(score, own, limit)
        if not going.any():
            break
        fresh, own, sure = answers(j, going)
        taken = going
        if postcheck:
            taken = going & takes_b(score, surest, sure, postcheck)
            ours = taken.view(np.int8)
            answered = ours if j == 1 else np.maximum(answered, np.int8(j) * ours)
            surest = np.where(taken, sure, surest) if j < len(rules) else surest
        prediction = np.where(taken, fresh, prediction)
        stage += going
    return stage, answered if postcheck else stage, prediction


def nobodys_answers(score: Score, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As Answers of a last stage that is no model: no answer and no score, and to a post-check
    surer than any model, as what comes here stays here."""
    nothing = np.full(n, np.nan)
    return np.full(n, UNANSWERED, np.int32), nothing, np.full(n, score.sign * np.inf)


class Scored(Protocol):
    """What `decide` reads of M models' answers to the same N images, as a ScoreSet holds them."""

    @property
    def labels(self) -> np.ndarray: ...
    @property
    def predictions(self) -> np.ndarray: ...
    @property
    def correct(self) -> np.ndarray: ...
    @property
    def credit(self) -> np.ndarray: ...
    @property
    def loss(self) -> Loss | None: ...
    @property
    def means(self) -> Mapping[tuple[str, ...], np.ndarray]: ...
    def index(self, model: str) -> int: ...
    def score(self, name: str, model: int) -> np.ndarray: ...


def decide(scores: Scored, cascade: Cascade) -> Outcome:
    """Decide every image by the rule, model by model, from what is known of all of them."""
    asked = [_asked(scores, stage) for stage in cascade.stages]
    if cascade.averaged:
        asked[1] = (scores.means[cascade.averaged][0].astype(np.int32), *asked[1][1:])
    rules = [
        (named(each.score), each.limit) for each in cascade.stages if each.score and each.limit
    ]

    def answers(j: int, going: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return asked[j]

    n = len(scores.labels)
    stage, answered, prediction = run_stages(n, answers, rules, cascade.postcheck)
    sure = [score for _, score, _ in asked]
    right, earned = prediction == scores.labels, _earned(scores, cascade, answered, prediction)
    return Outcome(stage, answered, prediction, sure, right, earned=earned)


def _earned(
    scores: Scored, cascade: Cascade, answered: np.ndarray, prediction: np.ndarray
) -> np.ndarray | None:
    """int [N]: the credit of the models that answered; what several answer together has its own."""
    if scores.loss is None:
        return None
    rows = [scores.index(stage.model) for stage in cascade.stages]
    earned = np.choose(answered, scores.credit[rows])
    together = [j for j, stage in enumerate(cascade.stages) if stage.beside]
    mixed = np.isin(answered, [1] if cascade.averaged else together)
    if mixed.any():
        earned[mixed] = scores.loss.credits(scores.labels[mixed], prediction[mixed])
    return earned


def _asked(scores: Scored, stage: Stage) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A stage's answers int32 [N], its score, and what a post-check compares, float64 [N]; a score
    that it has not is NaN."""
    if stage.nobodys:
        return nobodys_answers(named(str(stage.score)), len(scores.labels))
    rows = [scores.index(model) for model in stage.members]
    if stage.beside:
        return *votes(scores.predictions[rows]), np.full(len(scores.labels), np.nan)
    [m], name = rows, stage.score
    if name is None or name == VOTE_SHARE.name:
        unknown = np.full(len(scores.labels), np.nan)
        return scores.predictions[m], unknown, unknown
    own = scores.score(name, m)
    checked = checked_by(name)
    return scores.predictions[m], own, own if checked == name else scores.score(checked, m)
