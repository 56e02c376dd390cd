"""Any score as the probability that its model is right, so that those of all models compare.

Isotonic regression (Zadrozny & Elkan 2002) or Platt's sigmoid (Platt 1999) of each model's score,
fitted on the images that fit λ and on no others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cache import InputError, one_of
from stages.cascade import Cascade, Limit, Ordering
from stages.scores import CALIBRATIONS, Coefficients, Columns, ScoreSet, fitted_score, named
from stages.threshold import FitPlan

# How sure float64 [n], larger is surer, and right bool [n] → the coefficients of a curve.
Fit = Callable[[np.ndarray, np.ndarray], Coefficients]


def calibrated(
    reported: ScoreSet, plan: FitPlan, method: str | None, names: Sequence[str]
) -> tuple[ScoreSet, FitPlan, list[str]]:
    """(reported, plan, names): both sets of images have these scores of all models as probabilities
    too, by the names that are told, isotonic(maxp) say. As they are where `method` is None.

    InputError for an unknown method, the oracle alone, and where no other images than those
    reported fit.
    """
    if method is None:
        return reported, plan, list(names)
    if method not in CURVES:
        raise one_of("calibration", method, CURVES)
    if plan.method == "cross-fit":
        raise InputError(
            f"--calibrate needs other images than those of {plan.split}, which are reported: give "
            "--fit-split S, or --halves SEED"
        )
    told = {name: f"{method}({name})" for name in names if not named(name).needs_label}
    if not told:
        raise InputError("the oracle knows what is right: leave out --calibrate")
    curves = {name: _curves(plan.scores, CURVES[method], name) for name in told}

    def applied(scores: ScoreSet) -> ScoreSet:
        columns, fitted = Columns.mapped(scores.scores, np.asarray), dict(scores.coefficients)
        for name, each in curves.items():
            made = [
                fitted_score(told[name], curve, {name: values}, None)
                for curve, values in zip(each, scores.scores[name], strict=True)
            ]
            columns[told[name]] = np.stack(made)
            fitted[told[name]] = dict(zip(scores.models, each, strict=True))
        return replace(scores, scores=columns, coefficients=fitted)

    what = f"{', '.join(told)} calibrated ({method}) on the {len(plan.scores.labels)} images"
    note = f"{what} of {plan.split} that fit λ: λ is the probability that A is right"
    fitted = replace(plan, scores=applied(plan.scores), notes=(*plan.notes, note))
    return applied(reported), fitted, [told.get(name, name) for name in names]


def _curves(scores: ScoreSet, fit: Fit, name: str) -> list[Coefficients]:
    """Of each model."""
    return [fit(*each) for each in zip(_sure(scores, name), scores.correct, strict=True)]


def _sure(scores: ScoreSet, name: str) -> np.ndarray:
    """float64 [M, N], larger is surer."""
    return named(name).sign * scores.scores[name]


def own_limit(fitting: ScoreSet, cascade: Cascade) -> Limit:
    """λ of a calibrated score in the unit of the score itself: what parts these images alike."""
    name, a = str(cascade.score), fitting.index(cascade.models[0])
    sent = Ordering.by(fitting, name, a).escalated(cascade.limits[0])
    return Ordering.by(fitting, name[:-1].partition("(")[2], a).limit(sent)


def isotonic(sure: np.ndarray, right: np.ndarray) -> Coefficients:
    """The rising curve of least squares through `right` bool [N] over `sure` float64 [N], straight
    between two of these; beyond them it goes on level."""
    from sklearn.isotonic import IsotonicRegression  # slow to import, and for few

    found = IsotonicRegression(out_of_bounds="clip").fit(sure, right)
    return {"x": found.X_thresholds_.tolist(), "y": found.y_thresholds_.tolist()}


def platt(sure: np.ndarray, right: np.ndarray) -> Coefficients:
    """The sigmoid of most likelihood that does not fall, where of N₊ right and N₋ wrong answers
    one counts as right by (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2)."""
    from sklearn.linear_model import LogisticRegression  # slow to import, and for few
    from sklearn.pipeline import make_pipeline  # likewise
    from sklearn.preprocessing import StandardScaler  # likewise

    n, positive = len(right), np.count_nonzero(right)
    share = np.where(right, (positive + 1) / (positive + 2), 1 / (n - positive + 2))
    # Each image as a right answer and as a wrong one, weighted.
    rows, classes = np.tile(sure, 2)[:, None], np.repeat([True, False], n)
    weights = {"logisticregression__sample_weight": np.append(share, 1 - share)}
    model = make_pipeline(StandardScaler(), LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000))
    scaler, fitted = model.fit(rows, classes, **weights)
    slope = float(fitted.coef_[0, 0] / scaler.scale_[0])
    if slope < 0:  # of those that rise the level one is the most likely
        level = float(share.mean())
        return {"slope": 0.0, "intercept": float(np.log(level / (1 - level)))}
    return {"slope": slope, "intercept": float(fitted.intercept_[0] - slope * scaler.mean_[0])}


CURVES: Mapping[str, Fit] = dict(zip(CALIBRATIONS, (isotonic, platt), strict=True))
