"""logits → what a cascade needs beyond the cached scores: fitted ones, and answers of means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cache import InputError, Store
from stages.scores.fitted import Coefficients, fitted_score, scaled
from stages.scores.logits import Parts, blocks, scored_block, together
from stages.scores.plugin_scores import Columns
from stages.scores.softmax import softmax_of
from stages.scores.spec import made_of
from stages.scores.table import ScoreSet, parts_of


def prepared(
    store: Store,
    scores: ScoreSet,
    name: str | None,
    coefficients: Mapping[str, Coefficients],
    mean: Sequence[str] = (),
) -> ScoreSet:
    """The same images with the fitted score of this name, of those models that `coefficients` are
    of (NaN else), and with the answers of the `mean` of models' probabilities.

    InputError where the cache has no logits that these need.
    """
    columns = Columns.mapped(scores.scores, np.asarray)
    if name is not None and made_of(name) and name not in columns:
        found = np.full(scores.predictions.shape, np.nan)
        for model, each in coefficients.items():
            m = scores.index(model)
            found[m] = _fitted(store, scores, m, name, each)
        columns[name] = found
    means = dict(scores.means)
    if mean and tuple(mean) not in means:
        tempered = [coefficients.get(model, {}).get("temperature", 1) for model in mean]
        means[tuple(mean)] = _mean(store, scores, mean, tempered)
    return replace(scores, scores=columns, means=means)


def _fitted(store: Store, scores: ScoreSet, m: int, name: str, each: Coefficients) -> np.ndarray:
    """float64 [N], of logits where there are any."""
    how, base = made_of(name) or ("", "")
    if how in ("isotonic", "platt"):
        return fitted_score(name, each, {base: scores.scores[base][m]}, None)
    out = np.empty(len(scores.labels))
    for rows, logits in blocks(_logits(store, scores, m, name)):
        out[rows] = fitted_score(name, each, scored_block(rows, logits), logits)
    return out


def _mean(
    store: Store, scores: ScoreSet, models: Sequence[str], temperatures: Sequence[float]
) -> np.ndarray:
    """float64 [2, N]: the first largest of the mean of two models' probabilities, and by how much
    it is larger than the second; one joint pass."""
    answer = np.empty((2, len(scores.labels)))
    a, b = (_logits(store, scores, scores.index(name), "mean") for name in models)
    for rows, z_a, z_b in together(a, b):
        p = softmax_of(scaled(z_a, temperatures[0]))
        p += softmax_of(scaled(z_b, temperatures[1]))
        two = np.partition(p, -2, axis=1)[:, -2:] / 2
        answer[0, rows], answer[1, rows] = p.argmax(axis=1), two[:, 1] - two[:, 0]
    return answer


def _logits(store: Store, scores: ScoreSet, m: int, what: str) -> Parts:
    found = parts_of(store, scores, m)
    if found is None:
        raise InputError(
            f"the cache has no logits of {scores.models[m]} on {scores.split}, which {what} needs: "
            "extract or import them"
        )
    return found
