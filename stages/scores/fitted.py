"""Scores with coefficients that images fitted, as the cache and a deployed file compute them alike.

numpy only. A row's result never depends on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from stages.scores.softmax import scores_of
from stages.scores.spec import LABEL_FREE, built_in, confidence, made_of

# By name numbers, or lists of them: `temperature`; `slope` and `intercept`; `x` and `y`, ascending;
# `mean` and `scale` [F], `weights` [C × F] row by row, `offsets` and `gains` [C].
Coefficients = Mapping[str, Any]
Scores = Mapping[str, np.ndarray]
TOP = 10
_LEAST = 1e-12  # probabilities below are alike to the logarithm
_MANY = 50  # up to so many classes the answer is a feature of its own


def scaled(logits: np.ndarray, temperature: float) -> np.ndarray:
    """z/T in float64; the very same float32 z at T = 1, so that nothing is rounded anew."""
    return logits if temperature == 1 else logits.astype(np.float64) / temperature


def fitted_score(
    name: str, coefficients: Coefficients, scores: Scores, logits: np.ndarray | None
) -> np.ndarray:
    """float64 [n] of a fitted score; `scores` are the model's own by name, float64 [n], `logits`
    float32 [n, K], which a temperature and what is learned need.

    ValueError where these, or coefficients, are not what it takes.
    """
    how, score = made_of(name) or ("", "")
    try:
        return _OF[how](score, coefficients, scores, logits)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no {name} can be made of what is given: {error}") from error


def logit_scores(scores: Scores, logits: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """(margin and energy float64 [n], the min(10, K) largest probabilities of each row, descending)
    beside the `scores_of` the logits. As maxp = 1/Z with the largest logit z₁ taken out,
    p_k = e^(z_k − z₁)·maxp and ln Σeᶻ = z₁ − ln maxp."""
    count = min(TOP, logits.shape[1])
    largest = np.partition(logits, -count, axis=1)[:, -count:].astype(np.float64)
    largest = np.sort(largest, axis=1)[:, ::-1]
    maxp = scores["maxp"]
    out = {"margin": largest[:, 0] - largest[:, 1], "energy": largest[:, 0] - np.log(maxp)}
    return out, np.exp(largest - largest[:, :1]) * maxp[:, None]


def features(scores: Scores, top: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """float64 [n, F]: sorted probabilities and their logarithms, margin, entropy, energy, answer.

    The answer is one-hot up to 50 classes; beyond that a linear model would need more images per
    class than there are, and it is left out.
    """
    scalars = np.column_stack([scores[name] for name in ("margin", "entropy", "energy")])
    columns = [top, np.log(np.maximum(top, _LEAST)), scalars]
    if classes <= _MANY:
        columns.append(np.eye(classes)[prediction])
    return np.hstack(columns)


def predicted_gain(coefficients: Coefficients, inputs: np.ndarray) -> np.ndarray:
    """Σ gains·p float64 [n] of a multinomial logistic regression, its C gains each with the chance
    p that features [n, F] give it."""
    arrays = {name: np.asarray(values, np.float64) for name, values in coefficients.items()}
    mean, gains = arrays["mean"], arrays["gains"]
    weights = arrays["weights"].reshape(len(gains), len(mean))
    x = (inputs - mean) / arrays["scale"]
    # Sums along rows in memory, which a product of matrices may order by how many rows there are.
    odds = np.stack([(x * each).sum(axis=1) for each in weights], axis=1) + arrays["offsets"]
    p = np.exp(odds - odds.max(axis=1, keepdims=True))
    return (p * gains).sum(axis=1) / p.sum(axis=1)


def _sure(score: str, scores: Scores) -> np.ndarray:
    return (built_in(score) or confidence(score)).sign * scores[score]


def _tempered(score: str, c: Coefficients, scores: Scores, logits: np.ndarray) -> np.ndarray:
    return scores_of(scaled(logits, c["temperature"]))[score]


def platt_curve(c: Coefficients, sure: np.ndarray) -> np.ndarray:
    """float64 [n] in [0, 1] of scores float64 [n] that are larger where surer."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-(c["slope"] * sure + c["intercept"])))


def isotonic_curve(c: Coefficients, sure: np.ndarray) -> np.ndarray:
    """The same: straight between the knots, level beyond them."""
    return np.interp(sure, c["x"], c["y"])


def _platt(score: str, c: Coefficients, scores: Scores, logits: Any) -> np.ndarray:
    return platt_curve(c, _sure(score, scores))


def _isotonic(score: str, c: Coefficients, scores: Scores, logits: Any) -> np.ndarray:
    return isotonic_curve(c, _sure(score, scores))


def _learned(score: str, c: Coefficients, scores: Scores, logits: np.ndarray) -> np.ndarray:
    """Surest where least is predicted to be gained."""
    more, top = logit_scores(scores, logits)
    prediction = np.asarray(logits).argmax(axis=1)
    return -predicted_gain(c, features({**scores, **more}, top, prediction, logits.shape[1]))


def _of_logits(score: str, c: Coefficients, scores: Scores, logits: np.ndarray) -> np.ndarray:
    return logit_scores(scores, logits)[0][score]


def unfit(name: str, coefficients: Coefficients | None, classes: int | None = None) -> str | None:
    """What a fitted score of this name takes, None where these coefficients, whatever they hold,
    are that; of a model of so many classes, where they are known."""
    how, _ = made_of(name) or ("", "")
    wanted, given = _NEEDS.get(how, ()), coefficients or {}
    if given.keys() != {*wanted}:
        return f"{', '.join(wanted) or 'none'}, and no others"
    for key in wanted:
        values = given[key] if key in _LISTS else [given[key]]
        if not isinstance(values, list) or not values or not all(map(_is_finite, values)):
            return f"{key} as {'numbers' if key in _LISTS else 'a number'}"
    return _MISFITS[how](given, classes) if how in _MISFITS else None


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and abs(float(str(value))) <= _LARGEST


def _of_temperature(c: Coefficients, classes: int | None) -> str | None:
    return None if 1e-3 <= c["temperature"] <= 1e3 else "a temperature from 0.001 to 1000"


def _of_platt(c: Coefficients, classes: int | None) -> str | None:
    return None if c["slope"] >= 0 else "a slope that does not fall"


def _of_isotonic(c: Coefficients, classes: int | None) -> str | None:
    x, y = c["x"], c["y"]
    rises = all(a < b for a, b in pairwise(x)) and all(a <= b for a, b in pairwise(y))
    fits = len(x) == len(y) and rises and y[0] >= 0 and y[-1] <= 1
    return None if fits else "x that ascends, and as many y that do, from 0 to 1"


def _of_learned(c: Coefficients, classes: int | None) -> str | None:
    features, gains = len(c["mean"]), len(c["gains"])
    if classes is not None:
        known = 2 * min(TOP, classes) + 3 + (classes if classes <= _MANY else 0)
        if features != known:
            return f"the {known} features of {classes} classes"
    same = (features, gains, gains * features)
    if same != (len(c["scale"]), len(c["offsets"]), len(c["weights"])):
        return "mean and scale of each feature, and weights of each for each of the gains"
    return None if min(c["scale"]) > 0 else "a scale above 0"


_LARGEST = 1e15
_LISTS = {"x", "y", "mean", "scale", "weights", "offsets", "gains"}
_MISFITS: Mapping[str, Callable[[Coefficients, int | None], str | None]] = {
    "temperature": _of_temperature,
    "platt": _of_platt,
    "isotonic": _of_isotonic,
    "learned": _of_learned,
}
# Of which scores each is made, None: of any.
BASES: Mapping[str, tuple[str, ...] | None] = {
    "temperature": LABEL_FREE,
    "learned": ("maxp",),
    "logits": ("margin", "energy"),
    "platt": None,
    "isotonic": None,
}
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "temperature": ("temperature",),
    "platt": ("slope", "intercept"),
    "isotonic": ("x", "y"),
    "learned": ("mean", "scale", "weights", "offsets", "gains"),
}
_OF: Mapping[str, Callable[[str, Coefficients, Scores, Any], np.ndarray]] = {
    "temperature": _tempered,
    "platt": _platt,
    "isotonic": _isotonic,
    "learned": _learned,
    "logits": _of_logits,
}
