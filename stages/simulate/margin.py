"""The margin of a cascade's λ: how many images lie where float noise, or another runtime, decides?

Two comparisons decide: s_A with λ, and with post-check s_B with s_A among the images that B runs
on. Each has its own figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import cache
from cache import InputError
from stages.cascade import AT, Cascade, Limit, Outcome, cut, decide, trusted
from stages.results import Row
from stages.scores import Score, ScoreSet, checked_by, named, origin
from stages.statistics import change, paired

# The usual noises, as names of columns spell them.
NOISES = {f"1e_{digits}": float(f"1e-{digits}") for digits in (6, 5, 4, 3, 2)}
LAMBDA, POSTCHECK = "threshold", "postcheck"
PREFIXES = {LAMBDA: "", POSTCHECK: "postcheck_"}
# s_A − s_B on the axis where larger is surer: A's answer stays from 0 on.
_A_STAYS: tuple[Score, Limit] = (Score("surer by", +1), Limit(AT, 0.0))


@dataclass(frozen=True, kw_only=True)
class Near(Row):
    """Of each comparison the distance of the nearest image, and how many lie within each noise;
    null where it has no limit that is a number."""

    gap: float | None = None
    near_1e_6: int | None = None
    near_1e_5: int | None = None
    near_1e_4: int | None = None
    near_1e_3: int | None = None
    near_1e_2: int | None = None
    near_share_1e_6: float | None = None
    near_share_1e_5: float | None = None
    near_share_1e_4: float | None = None
    near_share_1e_3: float | None = None
    near_share_1e_2: float | None = None
    postcheck_gap: float | None = None
    postcheck_near_1e_6: int | None = None
    postcheck_near_1e_5: int | None = None
    postcheck_near_1e_4: int | None = None
    postcheck_near_1e_3: int | None = None
    postcheck_near_1e_2: int | None = None
    postcheck_near_share_1e_6: float | None = None
    postcheck_near_share_1e_5: float | None = None
    postcheck_near_share_1e_4: float | None = None
    postcheck_near_share_1e_3: float | None = None
    postcheck_near_share_1e_2: float | None = None


@dataclass(frozen=True)
class Comparison:
    """What decides: `numbers` float64 [n], by image, where they lie beside `limit`."""

    name: str
    score: Score
    limit: Limit
    numbers: np.ndarray

    @property
    def distance(self) -> np.ndarray | None:
        """float64 [n], how far each lies from the limit; None where that is no number."""
        if self.limit.kind != AT:
            return None
        return abs(self.score.sign * self.numbers - cut(self.score, self.limit))

    @property
    def passes(self) -> np.ndarray:
        """bool [n]: on the surer side."""
        return trusted(self.score, self.numbers, self.limit)


@dataclass(frozen=True)
class Moved:
    """One comparison in two runtimes: of `n` images how far its numbers move by quantile, and how
    many fall on the other side (`flips`). `noise` is how far they move near the limit, `near` the
    images within it, `gap` the distance of the nearest; null where λ is always or never."""

    comparison: str
    n: int
    moved_p50: float
    moved_p90: float
    moved_p99: float
    moved_p100: float
    flips: int
    noise: float | None = None
    near: int | None = None
    near_share: float | None = None
    gap: float | None = None


@dataclass(frozen=True)
class RuntimeChange:
    """What a cascade decides and answers differently in another runtime, and what that does to its
    accuracy; how accurate it is, images that had no part in its λ tell."""

    runtime: str
    runtime_2: str
    n: int
    decisions_changed: int
    answers_changed: int
    samples_changed: tuple[int, ...]
    accuracy_change: float
    usage: float
    usage_2: float
    comparisons: tuple[Moved, ...]


@dataclass(frozen=True)
class ModelChange:
    """What a model answers otherwise in `runtime` than in `runtime_2`, over `n` images of a split;
    `accuracy_change` is paired, with its 95 % limits."""

    model: str
    split: str
    runtime: str
    runtime_2: str
    n: int
    answers_changed: int
    accuracy: float
    accuracy_2: float
    accuracy_change: float
    accuracy_change_low: float
    accuracy_change_high: float


def near_limits(cascade: Cascade, outcome: Outcome) -> Near:
    """How many images lie within each of NOISES of a λ that they are held against, and of a tie of
    s_A and s_B (with post-check, among those that B runs on), and how far off the nearest is; null
    where λ is no number.

    `outcome` is the cascade's, without a memory.
    """
    found = Near()
    if named(str(cascade.score)).needs_label:
        return found
    to_limit = _to_limits(cascade, outcome)
    if np.isfinite(to_limit).any():
        found = replace(found, **_near(PREFIXES[LAMBDA], to_limit))
    # What is learned of A is not what a post-check compares.
    compared = cascade.postcheck and checked_by(str(cascade.score)) == cascade.score
    if compared and outcome.escalated.any():
        found = replace(found, **_near(PREFIXES[POSTCHECK], _to_ties(cascade, outcome)))
    return found


def _to_limits(cascade: Cascade, outcome: Outcome) -> np.ndarray:
    """float64 [N]: how far each image's scores come to a λ, ∞ where none is a number; a vote share
    has no noise."""
    out, score = np.full(len(outcome.stage), np.inf), named(str(cascade.score))
    for j, limit in enumerate(cascade.limits):
        if limit.kind == AT and not cascade.stages[j].beside:
            here = outcome.stage >= j
            by = abs(score.sign * outcome.scores[j][here] - cut(score, limit))
            out[here] = np.minimum(out[here], by)
    return out


def _to_ties(cascade: Cascade, outcome: Outcome) -> np.ndarray:
    """float64 [n], of those that go on: how near the score of a later model comes to the surest
    before it."""
    score, sent = named(str(cascade.score)), outcome.escalated
    surest = score.sign * outcome.scores[0]
    out = np.full(len(surest), np.inf)
    for j in range(1, len(cascade.stages) - cascade.stages[-1].nobodys):
        here, own = outcome.stage >= j, score.sign * outcome.scores[j]
        out[here] = np.minimum(out[here], abs(own - surest)[here])
        surest = np.where(here, np.maximum(own, surest), surest)
    return out[sent]


def _near(prefix: str, distance: np.ndarray) -> dict[str, Any]:
    counts = {name: int((distance <= noise).sum()) for name, noise in NOISES.items()}
    found = {f"{prefix}gap": float(distance.min())}
    found |= {f"{prefix}near_{name}": count for name, count in counts.items()}
    return found | {f"{prefix}near_share_{k}": count / len(distance) for k, count in counts.items()}


def between_runtimes(here: ScoreSet, there: ScoreSet, cascade: Cascade) -> RuntimeChange:
    """The cascade's λ is for the runtime `here`; `there` holds the same images, answered by the
    same weights. InputError where these are others."""
    _check_same(here, there)
    first, second = (decide(scores, cascade) for scores in (here, there))
    to_b = first.escalated
    ours, theirs = (_comparisons(cascade, each.scores, to_b) for each in (first, second))
    answers = first.prediction != second.prediction
    return RuntimeChange(
        _runtime(here),
        _runtime(there),
        len(here.labels),
        int((first.escalated != second.escalated).sum()),
        int(answers.sum()),
        tuple(here.sample_ids[answers].tolist()),
        second.accuracy - first.accuracy,
        first.usage(),
        second.usage(),
        tuple(moved(*both) for both in zip(ours, theirs, strict=True)),
    )


def model_between_runtimes(here: ScoreSet, there: ScoreSet) -> ModelChange:
    """Of the same images, answered by the one model of each; InputError for other weights."""
    _check_same(here, there)
    (mine,), (others,) = here.correct, there.correct
    by = change(paired(mine, others))
    return ModelChange(
        *(here.models[0], here.split, _runtime(here), _runtime(there), len(here.labels)),
        int((here.predictions != there.predictions).sum()),
        *(float(mine.mean()), float(others.mean()), by.value, by.low, by.high),
    )


def _comparisons(
    cascade: Cascade, scores: Sequence[np.ndarray] | np.ndarray, to_b: np.ndarray
) -> Iterator[Comparison]:
    """Of a pair's scores float64 [N], where B runs, bool [N]; none where the label decides."""
    score, [limit], (s_a, s_b) = named(str(cascade.score)), cascade.limits, scores
    if score.needs_label:
        return
    yield Comparison(LAMBDA, score, limit, s_a)
    if cascade.postcheck and to_b.any():
        yield Comparison(POSTCHECK, *_A_STAYS, score.sign * (s_a - s_b)[to_b])


def moved(here: Comparison, there: Comparison) -> Moved:
    """Of the same images in two runtimes."""
    by, distance, n = abs(here.numbers - there.numbers), here.distance, len(here.numbers)
    p50, p90, p99, most = np.quantile(by, (0.5, 0.9, 0.99, 1.0)).tolist()
    flips = int((here.passes != there.passes).sum())
    found = Moved(here.name, n, p50, p90, p99, most, flips)
    if distance is None:
        return found
    noise = noise_of(by, distance)
    near = int((distance <= noise).sum())
    return replace(found, noise=noise, near=near, near_share=near / n, gap=float(distance.min()))


def noise_of(
    moved: np.ndarray, distance: np.ndarray, quantile: float = 0.99, neighbours: int = 500
) -> float:
    """How far scores move between two runtimes: the `quantile` of `moved` float64 [N] among the
    images of the smallest `distance` [N] from λ, for a score moves less where it is near its bound.
    """
    count = min(neighbours, len(moved))
    nearest = np.argpartition(distance, count - 1)[:count]
    return float(np.quantile(moved[nearest], quantile))


def _check_same(here: ScoreSet, there: ScoreSet) -> None:
    cache.same_images([*here.manifests, *there.manifests])
    for model, *manifests in zip(here.models, here.manifests, there.manifests, strict=True):
        first, second = map(origin, manifests)
        if first and second and first != second:
            raise InputError(
                f"{model} has weights {str(first)[:12]} in {_runtime(here)} but {str(second)[:12]} "
                f"in {_runtime(there)}: --runtimes is about one model, extract one of them again"
            )


def _runtime(scores: ScoreSet) -> str:
    return scores.manifests[0].partition.keys["runtime"]
