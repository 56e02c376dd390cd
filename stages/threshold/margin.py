"""The margin of a cascade's λ, from one runtime or two: how many images lie on an edge?

Two comparisons decide: s_A with λ, and with post-check s_B with s_A. Each has its own rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import cache
from cache import InputError, Store
from stages.cascade import AT, Cascade, Limit, cut, decide, trusted
from stages.results import save
from stages.scores import Score, ScoreSet, named

Row = dict[str, Any]
NOISES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
QUANTILES = (0.5, 0.9, 0.99, 1.0)
# s_A − s_B on the axis where larger is surer: A's answer stays from 0 on.
_A_STAYS: tuple[Score, Limit] = (Score("surer by", +1), Limit(AT, 0.0))


def near_threshold(
    store: Store,
    here: ScoreSet,
    there: ScoreSet | None,
    cascade: Cascade,
    noises: Sequence[float] = NOISES,
) -> tuple[list[Row], Row | None]:
    """(a row per comparison and noise, also written to results/margin; `changed` if two runtimes).

    λ is for the runtime `here`; `there` holds the same images, answered by the same weights.
    """
    if there is not None:
        _same(here, there)
    [limit] = cascade.limits
    about = {
        "model_1": cascade.models[0],
        "model_2": cascade.models[1],
        "score": cascade.score,
        "postcheck": cascade.postcheck,
        "threshold": limit.threshold,
        "runtime": _runtime(here),
        "runtime_2": None if there is None else _runtime(there),
    }
    to_b = decide(here, cascade).escalated
    ours = _by_comparison(here, cascade, to_b)
    theirs = {} if there is None else _by_comparison(there, cascade, to_b)
    against = {"threshold": (named(str(cascade.score)), limit), "postcheck": _A_STAYS}
    rows = [
        about | {"comparison": name} | row
        for name, numbers in ours.items()
        for row in compared(*against[name], numbers, theirs.get(name), noises)
    ]
    save(store, "margin", here, about | {"noises": list(noises)}, rows)
    return rows, None if there is None else changed(here, there, cascade)


def changed(here: ScoreSet, there: ScoreSet, cascade: Cascade) -> Row:
    """What the cascade decides and answers differently in two runtimes, and what that does to its
    accuracy; how accurate it is, images that had no part in its λ tell."""
    first, second = (decide(scores, cascade) for scores in (here, there))
    answers = first.prediction != second.prediction
    return {
        "n": len(here.labels),
        "decisions_changed": int((first.escalated != second.escalated).sum()),
        "answers_changed": int(answers.sum()),
        "samples_changed": here.sample_ids[answers].tolist(),
        "accuracy_change": second.accuracy - first.accuracy,
        "usage": first.usage(),
        "usage_2": second.usage(),
    }


def _by_comparison(scores: ScoreSet, cascade: Cascade, to_b: np.ndarray) -> dict[str, np.ndarray]:
    """float64 by comparison; post-check is about the images that B runs on, bool [N]."""
    name = str(cascade.score)
    s_a, s_b = (scores.score(name, scores.index(model)) for model in cascade.models)
    out = {"threshold": s_a}
    if cascade.postcheck and to_b.any():
        out["postcheck"] = named(name).sign * (s_a - s_b)[to_b]
    return out


def compared(
    score: Score,
    limit: Limit,
    here: np.ndarray,
    there: np.ndarray | None,
    noises: Sequence[float],
) -> Iterator[Row]:
    """One row per noise, the measured one first; what does not depend on it is repeated.

    here and there: float64 [N], the score of the same images in two runtimes, or in one.
    """
    decides = limit.value is not None
    distance = np.full(len(here), np.inf)
    if decides:
        distance = abs(score.sign * here - cut(score, limit))
    about: Row = {"n": len(here), "gap": float(distance.min()) if decides else None}
    about |= {f"moved_{_percent(q)}": None for q in QUANTILES} | {"flips": None}
    known = [(noise, "stated") for noise in noises]
    if there is not None:
        moved = abs(here - there)
        quantiles = zip(QUANTILES, np.quantile(moved, QUANTILES).tolist(), strict=True)
        about |= {f"moved_{_percent(q)}": value for q, value in quantiles}
        flips = trusted(score, here, limit) != trusted(score, there, limit)
        about["flips"] = int(flips.sum())
        known = [*([(noise_of(moved, distance), "measured")] if decides else []), *known]
    for noise, how in known:
        near = int((distance <= noise).sum())
        shares = {"near": near, "near_share": near / len(here)}
        yield about | {"noise": noise, "noise_is": how} | shares


def noise_of(
    moved: np.ndarray, distance: np.ndarray, quantile: float = 0.99, neighbours: int = 500
) -> float:
    """How far scores move between two runtimes: the `quantile` of `moved` float64 [N] among the
    images of the smallest `distance` [N] from λ, for a score moves less where it is near its bound.
    """
    count = min(neighbours, len(moved))
    nearest = np.argpartition(distance, count - 1)[:count]
    return float(np.quantile(moved[nearest], quantile))


def _percent(quantile: float) -> str:
    return f"p{quantile * 100:.0f}"


def _same(here: ScoreSet, there: ScoreSet) -> None:
    cache.same_images([*here.manifests, *there.manifests])
    for model, *manifests in zip(here.models, here.manifests, there.manifests, strict=True):
        first, second = (manifest.provenance.get("weights_sha256") for manifest in manifests)
        if first and second and first != second:
            raise InputError(
                f"{model} has weights {str(first)[:12]} in {_runtime(here)} but {str(second)[:12]} "
                f"in {_runtime(there)}: a margin is about one model, extract one of them again"
            )


def _runtime(scores: ScoreSet) -> str:
    return scores.manifests[0].partition.keys["runtime"]
