"""Is a score a probability, and does it put the errors last? Temperature, ECE, AURC, AUGRC.

A model's temperature T is fitted on the fitting images; softmax(z/T) then replaces softmax(z). The
answers do not change. Everything streams over `Parts` of logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stages.cascade import risk_coverage
from stages.scores import NonFiniteError, Parts, blocks, scaled, scored_block, subset

BINS = 15  # Guo et al. 2017
_RANGE = (0.01, 100.0)  # of 1/T
_TOLERANCE = 1e-7  # of the last step, whose error is about its square
_STEPS = 100


@dataclass(frozen=True)
class Temperature:
    """T, and the mean NLL (nats per image) with and without it on the n fitting images.

    `bounded` says that the NLL still falls at the end of the range: the model is right everywhere,
    or no better than chance.
    """

    value: float
    nll_before: float
    nll_after: float
    n: int
    bounded: bool


def fit_temperature(parts: Parts, labels: np.ndarray) -> Temperature:
    """The T in [0.01, 100] with the least NLL of labels int [N] (Guo et al. 2017).

    The NLL is convex in β = 1/T, so its slope is zero once at most: Newton's steps in ln β inside
    a bracket. Where a step leaves it, the end of the range is tried, then the middle. One pass over
    the logits a step, about five for a trained model.
    """
    bracket = list(_RANGE)
    untried = set(_RANGE)
    beta = 1.0
    before = nll, slope, curvature = _nll(parts, labels, beta)
    for _ in range(_STEPS):
        if slope == 0 or _outwards(beta, slope):
            break
        bracket[slope > 0] = beta
        new = _next(beta, slope, curvature, bracket, untried)
        done = abs(new - beta) <= _TOLERANCE * beta
        beta = new
        nll, slope, curvature = _nll(parts, labels, beta)
        if done:
            break
    return Temperature(1 / beta, before[0], nll, len(labels), _outwards(beta, slope))


def _next(
    beta: float, slope: float, curvature: float, bracket: list[float], untried: set[float]
) -> float:
    """The next β to try; an end of the range that it names is no longer `untried`."""
    turn = curvature * beta + slope
    step = beta * math.exp(min(-slope / turn, 99)) if turn > 0 else math.inf
    if bracket[0] < step < bracket[1]:
        return step
    end = bracket[slope < 0]
    if end in untried:
        untried.remove(end)
        return end
    return math.sqrt(bracket[0] * bracket[1])


def _outwards(beta: float, slope: float) -> bool:
    """At an end of the range, with the NLL still falling beyond it."""
    return (beta == _RANGE[0] and slope > 0) or (beta == _RANGE[1] and slope < 0)


def _nll(parts: Parts, labels: np.ndarray, beta: float) -> tuple[float, float, float]:
    """Mean over the images of ln Σe^{βz} − βz_y, and its first and second derivative in β.

    With p = softmax(βz) these are E_p[z] − z_y and Var_p[z]. NonFiniteError on a NaN.
    """
    total = np.zeros(3)
    for rows, logits in blocks(parts):
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            raise NonFiniteError(int(rows[finite.argmin()]))
        x = logits - logits.max(axis=1, keepdims=True).astype(np.float64)
        right = x[np.arange(len(rows)), labels[rows]]
        p = np.exp(beta * x)
        z = p.sum(axis=1)
        p /= z[:, None]
        mean = (p * x).sum(axis=1)
        variance = (p * (x - mean[:, None]) ** 2).sum(axis=1)
        total += (np.log(z) - beta * right).sum(), (mean - right).sum(), variance.sum()
    nll, slope, curvature = (total / len(labels)).tolist()
    return nll, slope, curvature


@dataclass(frozen=True)
class Reliability:
    """Equal bins (low, high] of the confidence, the first with 0: what a reliability diagram shows.

    `edges` float64 [B + 1]; per bin float64 [B] `confidence` and `accuracy` are means, NaN where
    the bin is empty, and `count` int64 [B].
    """

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def ece(self) -> float:
        """Σ_b count_b/N · |accuracy_b − confidence_b| (Naeini et al. 2015; Guo et al. 2017)."""
        full = self.count > 0
        gap = abs(self.accuracy[full] - self.confidence[full])
        return float((self.count[full] * gap).sum() / self.count.sum())


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> Reliability:
    """confidence float64 [N] in [0, 1], correct bool [N] → the bins.

    >>> reliability(np.array([0.9, 0.8]), np.array([True, False]), bins=2).ece
    0.35
    """
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.searchsorted(edges[1:-1], confidence, side="left")
    count = np.bincount(bin_of, minlength=bins)
    sums = [np.bincount(bin_of, each, minlength=bins) for each in (confidence, correct)]
    with np.errstate(invalid="ignore"):
        return Reliability(edges, sums[0] / count, sums[1] / count, count)


def aurc(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Mean over the images of the error rate among those at least as sure as it.

    confidence float64 [N], larger is surer; correct bool [N] (Geifman, Uziel & El-Yaniv 2019).

    >>> aurc(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    0.27777777777777773
    """
    return risk_coverage(confidence, ~correct).area


def augrc(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Area under (coverage, share of all images that are covered and wrong), by trapezia.

    This is the chance that of two images drawn at random the first is wrong and the surer, ties
    counting half: acc·(1 − acc)·(1 − AUROC) + (1 − acc)²/2 (Traub et al. 2024).

    >>> augrc(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    0.16666666666666666
    """
    found = risk_coverage(confidence, ~correct)
    ends, errors = found.covered, found.lost
    return float((np.diff(ends) * (errors[1:] + errors[:-1])).sum() / 2 / ends[-1] ** 2)


@dataclass(frozen=True)
class Quality:
    """What softmax(z/T) is worth on n images, judged by its largest p: NLL in nats per image."""

    temperature: float
    n: int
    accuracy: float
    nll: float
    ece: float
    aurc: float
    augrc: float
    reliability: Reliability


@dataclass(frozen=True)
class Likelihoods:
    """Per image, float64 [N] each but `correct` bool: NLL of its label in nats, and confidence."""

    nll: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray

    @classmethod
    def empty(cls, n: int) -> Likelihoods:
        """To be filled in."""
        return cls(np.empty(n), np.empty(n), np.empty(n, bool))

    @classmethod
    def of(cls, parts: Parts, labels: np.ndarray, temperature: float = 1.0) -> Likelihoods:
        """One pass. As maxp = 1/Z with the largest logit z₁ taken out, −ln p_y = z₁ − z_y − ln
        maxp. NonFiniteError on a NaN or infinite logit."""
        out = cls.empty(len(labels))
        for rows, logits in blocks(parts):
            z = scaled(logits, temperature)
            found = scored_block(rows, z)
            picked = (np.arange(len(rows)), labels[rows])
            above = z.max(axis=1).astype(np.float64) - z[picked]
            out.nll[rows] = above - np.log(found["maxp"])
            out.confidence[rows] = found["maxp"]
            out.correct[rows] = found["prediction"] == labels[rows]
        return out

    def quality(self, temperature: float = 1.0) -> Quality:
        bins = reliability(self.confidence, self.correct)
        return Quality(
            temperature=temperature,
            n=len(self.nll),
            accuracy=float(self.correct.mean()),
            nll=float(self.nll.mean()),
            ece=bins.ece,
            aurc=aurc(self.confidence, self.correct),
            augrc=augrc(self.confidence, self.correct),
            reliability=bins,
        )


def quality(parts: Parts, labels: np.ndarray, temperature: float = 1.0) -> Quality:
    """One pass over the logits; labels int [N]. NonFiniteError on a NaN or infinite logit."""
    return Likelihoods.of(parts, labels, temperature).quality(temperature)


@dataclass(frozen=True)
class Calibration:
    """A model's temperature from the fitting images, and both qualities on the reported ones."""

    temperature: Temperature
    before: Quality
    after: Quality


def calibrate(
    fitting: Parts, fit_labels: np.ndarray, reporting: Parts, labels: np.ndarray
) -> Calibration:
    """Fit on one split, judge on another."""
    temperature = fit_temperature(fitting, fit_labels)
    before, after = (quality(reporting, labels, t) for t in (1.0, temperature.value))
    return Calibration(temperature, before, after)


def crossfit(parts: Parts, labels: np.ndarray, fold: np.ndarray) -> Calibration:
    """Fit and judge on the same N images: each `fold` (int [N]) at the temperature of the others.

    The temperature that is given is fitted on all of them.
    """
    after = Likelihoods.empty(len(labels))
    for f in np.unique(fold):
        own = fold == f
        others = fit_temperature(subset(parts, ~own), labels[~own])
        judged = Likelihoods.of(subset(parts, own), labels[own], others.value)
        for name in ("nll", "confidence", "correct"):
            getattr(after, name)[own] = getattr(judged, name)
    temperature = fit_temperature(parts, labels)
    return Calibration(temperature, quality(parts, labels), after.quality(temperature.value))
