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
from stages.scores import SCORES, Coefficients, Score, features, predicted_gain
from stages.threshold import FOLDS, folds

PENALTY = 0.01  # scikit-learn's C: small, as the features are many and nearly collinear
_ROUNDS = 2000


def features_of(a: Outputs) -> np.ndarray:
    """float64 [N, F] of A's images."""
    if a.top is None:
        raise ValueError("only scores are known, and learned deferral needs logits")
    return features(a.scalars, a.top, a.prediction, a.classes)


def predicted_gains(
    fitting: Outputs, target: np.ndarray, reporting: Outputs
) -> tuple[np.ndarray, np.ndarray, Coefficients]:
    """The expected target, float64 on the fitting and on the reported images of A, and the
    coefficients of the latter.

    target: int8 [N] in {−1, 0, 1} on the fitting images. These are predicted by the model of the
    other folds of them, so that λ is not chosen on what was learned by heart; reported ones, even
    the same images, by that of all fitting images, which is deployed with this λ. Where λ is
    cross-fitted this is nested: the fitting images are then four outer folds, cut into folds anew,
    and nothing of the fifth is seen.
    """
    inputs = features_of(fitting)
    out = np.empty(len(target))
    fold = folds(len(target))
    for f in range(FOLDS):
        held_out = fold == f
        learned = _fitted(inputs[~held_out], target[~held_out])
        out[held_out] = predicted_gain(learned, inputs[held_out])
    learned = _fitted(inputs, target)
    return out, predicted_gain(learned, features_of(reporting)), learned


def _fitted(inputs: np.ndarray, target: np.ndarray) -> Coefficients:
    """The coefficients of a classifier, or of the target itself where it never varies."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(target)) < 2:
        level = np.zeros(inputs.shape[1])
        return _listed(mean=level, scale=level + 1, weights=level, offsets=[0], gains=target[:1])
    made = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=_ROUNDS)).fit(
        inputs, target
    )
    scaler, model = made
    weights, offsets = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # the odds of the second over the first
        weights, offsets = np.vstack([0 * weights, weights]), np.append(0, offsets)
    about = {"weights": weights, "offsets": offsets, "gains": model.classes_}
    return _listed(mean=scaler.mean_, scale=scaler.scale_, **about)


def _listed(**arrays: Any) -> Coefficients:
    """As a policy holds them."""
    return {name: np.ravel(each).astype(np.float64).tolist() for name, each in arrays.items()}


def _judge(fitting: Pair, reporting: Pair, final: Final) -> RuleScores:
    """Surest where least is predicted to be gained; λ = −μ·cost defers what is worth its price."""
    views = (RuleView.of(fitting, "maxp"), RuleView.of(reporting, "maxp"))
    target = final.gain(views[0], SCORES["maxp"])
    *gains, learned = predicted_gains(fitting.a, target, reporting.a)
    fitted, reported = (replace(v, score=-g) for v, g in zip(views, gains, strict=True))
    return RuleScores(fitted, reported, coefficients=(learned, None))


LEARNED = Rule("learned", Score("learned", +1), (LOGITS_A, LABELS), _judge, per_final=True)
