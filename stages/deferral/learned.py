"""Learned deferral: predict from A's outputs alone what B would gain (Jitkrittum et al. 2023).

The target is [final answer right] − [A right] ∈ {−1, 0, 1}, the final answer being B's unless
post-check or an ensemble has a say. A multinomial logistic regression gives the chance of each, and
the predicted gain is P(+1) − P(−1), for B's answer P(B right) − P(A right). It was chosen on
CIFAR-10 `val`: docs/methods.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stages.deferral.model_outputs import Outputs, Pair
from stages.deferral.spec import LABELS, LOGITS_A, Final, Rule, RuleScores, RuleView
from stages.scores import SCORES, Score
from stages.threshold import FOLDS, folds

PENALTY = 0.01  # scikit-learn's C: small, as the features are many and nearly collinear
_LEAST = 1e-12  # probabilities below are alike to the logarithm
_MANY = 50  # up to so many classes the answer is a feature of its own
_ROUNDS = 2000


def features(a: Outputs) -> np.ndarray:
    """float64 [N, F]: sorted probabilities and their logarithms, margin, entropy, energy, answer.

    The answer is one-hot up to 50 classes; beyond that a linear model would need more images per
    class than there are, and it is left out.
    """
    if a.top is None:
        raise ValueError("only scores are known, and learned deferral needs logits")
    scalars = np.column_stack([a.scalars[name] for name in ("margin", "entropy", "energy")])
    columns = [a.top, np.log(np.maximum(a.top, _LEAST)), scalars]
    if a.classes <= _MANY:
        columns.append(np.eye(a.classes)[a.prediction])
    return np.hstack(columns)


def predicted_gains(
    fitting: Outputs, target: np.ndarray, reporting: Outputs
) -> tuple[np.ndarray, np.ndarray]:
    """The expected target, float64 on the fitting and on the reported images of A.

    target: int8 [N] in {−1, 0, 1} on the fitting images. These are predicted by the model of the
    other folds of them, so that λ is not chosen on what was learned by heart; reported ones, even
    the same images, by that of all fitting images, which is deployed with this λ. Where λ is
    cross-fitted this is nested: the fitting images are then four outer folds, cut into folds anew,
    and nothing of the fifth is seen.
    """
    inputs = features(fitting)
    out = np.empty(len(target))
    fold = folds(len(target))
    for f in range(FOLDS):
        held_out = fold == f
        out[held_out] = _gain(_fitted(inputs[~held_out], target[~held_out]), inputs[held_out])
    return out, _gain(_fitted(inputs, target), features(reporting))


def _fitted(inputs: np.ndarray, target: np.ndarray) -> Any:
    """A classifier, or the target itself where it never varies."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(target)) < 2:
        return float(target[0])
    model = LogisticRegression(C=PENALTY, max_iter=_ROUNDS)
    return make_pipeline(StandardScaler(), model).fit(inputs, target)


def _gain(model: Any, inputs: np.ndarray) -> np.ndarray:
    if isinstance(model, float):
        return np.full(len(inputs), model)
    return model.predict_proba(inputs) @ model.classes_


def _judge(fitting: Pair, reporting: Pair, final: Final) -> RuleScores:
    """Surest where least is predicted to be gained; λ = −μ·cost defers what is worth its price."""
    views = (RuleView.of(fitting, "maxp"), RuleView.of(reporting, "maxp"))
    target = final.gain(views[0], SCORES["maxp"])
    gains = predicted_gains(fitting.a, target, reporting.a)
    fitted, reported = (replace(v, score=-g) for v, g in zip(views, gains, strict=True))
    return RuleScores(fitted, reported)


LEARNED = Rule("learned", Score("learned", +1), (LOGITS_A, LABELS), _judge, per_final=True)
