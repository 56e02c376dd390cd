"""The study's questions on one halving, each answered by a few numbers under names.

Gains are those of a pair's cascade over the better of its two models; which rule, λ and model that
is, the fitting half says, and the reporting half what it is worth.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

import numpy as np

from examples.study.halving import RULES, Asked, Halving, Points
from stages.heterogeneity import measures
from stages.statistics import Interval, change
from stages.threshold import FitPlan, ThresholdQuestion, cross_fitted_points

Numbers = dict[str, float | str]

CLOSE = 0.03  # of accuracy: models whose difference this is at most
GAPS = (0, 0.01, 0.03, 0.06, 1)
SIZES = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000)
BUDGETS = np.geomspace(0.3e9, 30e9, 41)
# Whose small values mean that two models differ.
ALIKE = ("double_fault", "q_statistic", "error_correlation", "kappa")
FAMILY = re.compile(
    "alexnet|squeezenet|vgg|resnet|densenet|mobilenet|nasnet|inception|xception|googlenet"
)
HALVINGS = 20


@dataclass(frozen=True)
class Case:
    """One halving with its fitted cascades; `targets` are models whose accuracy is asked for."""

    seed: int
    halving: Halving
    macs: np.ndarray
    targets: tuple[str, ...]

    @cached_property
    def models(self) -> tuple[str, ...]:
        return self.halving.scores.models

    @cached_property
    def n(self) -> int:
        return int(self.halving.reporting.sum())

    @cached_property
    def fit_right(self) -> np.ndarray:
        """int64 [M]: each model's right answers on the fitting half."""
        return self.halving.scores.correct[:, self.halving.fitting].sum(axis=1)

    @cached_property
    def accuracy(self) -> np.ndarray:
        """float64 [M]: on the reporting half."""
        return self.halving.scores.correct[:, self.halving.reporting].mean(axis=1)

    @cached_property
    def points(self) -> Points:
        goals = np.array([self.fit_right[self.models.index(each)] for each in self.targets], int)
        priced = BUDGETS if np.isfinite(self.macs).any() else BUDGETS[:0]
        asked = Asked(self.macs, goals, priced)
        return self.halving.points([(self.halving.fitting, asked)])[0]

    @cached_property
    def better(self) -> np.ndarray:
        """intp [M, M]: the model of each pair that is more often right where λ is fitted."""
        a, b = np.indices((len(self.models),) * 2)
        return np.where(self.fit_right[b] > self.fit_right[a], b, a)

    @cached_property
    def gap(self) -> np.ndarray:
        """float64 [M, M]: difference of accuracy on the fitting half."""
        return abs(np.subtract.outer(self.fit_right, self.fit_right)) / self.halving.fitting.sum()

    @cached_property
    def gains(self) -> np.ndarray:
        """float64 [R, M, M]: of each rule's most accurate λ."""
        return self.points.right[..., 0] / self.n - self.accuracy[self.better]

    @cached_property
    def gain(self) -> np.ndarray:
        """float64 [M, M]: by the rule that the fitting half prefers."""
        return np.take_along_axis(self.gains, self.points.best_rule()[None], axis=0)[0]

    @cached_property
    def ordered(self) -> np.ndarray:
        """bool [M, M]: every pair of different models."""
        return ~np.eye(len(self.models), dtype=bool)

    @cached_property
    def unordered(self) -> np.ndarray:
        """bool [M, M]: each pair once, in the direction that the fitting half prefers."""
        fitted = self.points.fit_right[..., 0].max(axis=0)
        first = (fitted > fitted.T) | ((fitted == fitted.T) & np.triu(self.ordered))
        return self.ordered & first

    def tested(self, place: tuple[int, ...], rival: int) -> Interval:
        """The change of accuracy against a model, of the cascade at an index of `points`."""
        rule, a, b, _ = place
        sent = int(self.points.sent[place])
        return change(self.halving.against(RULES[rule], a, b, sent, rival))

    def cost(self, usage: np.ndarray) -> np.ndarray:
        """float64 [R, M, M]: multiply-adds per image where this share of the images goes to B."""
        return self.macs[:, None] + self.macs * usage


def beats(case: Case) -> Numbers:
    """How often is a cascade more accurate than its better model, and by how much?"""
    out: Numbers = {}
    for name, gain in zip(map(rule_name, RULES), case.gains, strict=True):
        out |= _spread(f"beats/{name}", gain[case.ordered])
    out |= _spread("beats/any", case.gain[case.ordered])
    out |= _spread("beats/either", case.gain[case.unordered])
    for low, high in pairwise(GAPS):
        some = case.unordered & (case.gap <= high) & ((case.gap > low) | (low == 0))
        out |= _spread(f"beats/gap{100 * high:g}", case.gain[some])
    return out | _sure(case)


def _spread(name: str, gains: np.ndarray) -> Numbers:
    if not len(gains):
        return {}
    values = {"share": (gains > 0).mean(), "mean": gains.mean(), "max": gains.max()}
    return {f"{name}/{key}": float(value) for key, value in (values | {"n": len(gains)}).items()}


def _sure(case: Case) -> Numbers:
    """The shares of ordered pairs whose 95 % interval lies above and below 0."""
    rule = case.points.best_rule()
    found = [
        case.tested((int(rule[a, b]), a, b, 0), int(case.better[a, b]))
        for a, b in np.argwhere(case.ordered).tolist()
    ]
    above, below = np.mean([(each.low > 0, each.high < 0) for each in found], axis=0)
    return {"beats/any/surely": float(above), "beats/any/surely_worse": float(below)}


def most_accurate(case: Case) -> Numbers:
    """The most accurate cascade against the most accurate model."""
    fitted = np.where(case.ordered, case.points.fit_right[..., 0], -1)
    place = (*map(int, np.unravel_index(fitted.argmax(), fitted.shape)), 0)
    single = int(case.fit_right.argmax())
    out = _told(case, "top", place, single)
    return out | {"top/single": case.models[single]}


def _told(case: Case, name: str, place: tuple[int, ...], rival: int) -> Numbers:
    rule, a, b, question = place
    found, sent = case.tested(place, rival), case.points.sent
    second = f"→ {case.models[b]}" if case.points.fit_sent[place] else "alone"
    out: Numbers = {
        f"{name}/cascade": f"{case.models[a]} {second}",
        f"{name}/rule": rule_name(RULES[rule]),
        f"{name}/accuracy": float(case.points.right[place] / case.n),
        f"{name}/usage": float(sent[place] / case.n),
        f"{name}/change": found.value,
        f"{name}/low": found.low,
        f"{name}/high": found.high,
    }
    cost = float(case.cost(sent[..., question] / case.n)[place[:3]])
    if np.isfinite(cost):
        out |= {f"{name}/macs": cost, f"{name}/saved": 1 - cost / float(case.macs[rival])}
    return out


def _priced(case: Case) -> bool:
    return bool(np.isfinite(case.macs).any())


def saves(case: Case) -> Numbers:
    """The cheapest cascade that is as accurate as a model, both by the fitting half."""
    out: Numbers = {}
    for t, model in enumerate(case.targets):
        place = _cheapest(case, 1 + t)
        rival, (_, a, b, _) = case.models.index(model), place
        out |= _told(case, f"saves/{model}", place, rival)
        # How cheap the first model is, and how accurate the second.
        out[f"saves/{model}/price"] = float(case.macs[a] / case.macs[b])
        out[f"saves/{model}/second"] = float(case.accuracy[b] - case.accuracy[rival])
    return out


def _cheapest(case: Case, question: int) -> tuple[int, ...]:
    points, n = case.points, int(case.halving.fitting.sum())
    cost = case.cost(points.fit_sent[..., question] / n)
    cost[(points.fit_right[..., question] < 0) | np.isnan(cost)] = np.inf
    return (*map(int, np.unravel_index(cost.argmin(), cost.shape)), question)


def frontier(case: Case) -> Numbers:
    """The most accurate cascade and model within each budget, by the fitting half."""
    out: Numbers = {}
    first = 1 + len(case.targets)
    for u, budget in enumerate(BUDGETS if _priced(case) else ()):
        fitted = case.points.fit_right[..., first + u]
        place = (*map(int, np.unravel_index(fitted.argmax(), fitted.shape)), first + u)
        single = int(np.where(case.macs <= budget, case.fit_right, -1).argmax())
        if case.macs[single] <= budget:
            out[f"frontier/{u}/cascade"] = float(case.points.right[place] / case.n)
            out[f"frontier/{u}/single"] = float(case.accuracy[single])
    return out


def postcheck(case: Case) -> Numbers:
    """What post-check adds, by score, by whether the better model is first or last, and by whether
    the two are close."""
    a, b = np.indices(case.gap.shape)
    last, close = case.fit_right[b] > case.fit_right[a], _close(case)
    orders, groups = {"last": last, "first": ~last}, {"close": close, "apart": ~close}
    out: Numbers = {}
    for (r, rule), (order, ordered), (group, those) in product(
        enumerate(RULES[::2]), orders.items(), groups.items()
    ):
        if not (some := case.ordered & ordered & those).any():
            continue
        without, with_it = case.gains[2 * r][some], case.gains[2 * r + 1][some]
        found = {
            "mean": (with_it - without).mean(),
            "share": (with_it > without).mean(),
            "without": (without > 0).mean(),
            "with": (with_it > 0).mean(),
        }
        name = f"postcheck/{rule.score}/{order}/{group}"
        out |= {f"{name}/{key}": float(value) for key, value in found.items()}
    return out


def measured(case: Case) -> dict[str, np.ndarray]:
    """Every measure of the fitting half, float64 [M, M], and two that only ask how accurate."""
    scores, fitting = case.halving.scores, case.halving.fitting
    found = measures(scores.correct[:, fitting], scores.predictions[:, fitting])
    weaker = np.minimum.outer(case.fit_right, case.fit_right) / fitting.sum()
    return found | {"accuracy_difference": case.gap, "weaker_accuracy": weaker}


def predicts(case: Case) -> Numbers:
    """Spearman's ρ of each measure with the gain, and what the pair that it picks gains."""
    out: Numbers = {}
    found, groups = measured(case), {"all": case.unordered, "close": case.unordered & _close(case)}
    for name, values in found.items():
        for group, pairs in groups.items():
            key = f"measures/{name}/{group}"
            out[f"{key}/rho"] = _rho(values[pairs], case.gain[pairs])
            sign = -1 if name in (*ALIKE, "accuracy_difference") else 1
            out[f"{key}/picked"] = float(case.gain[pairs][(sign * values[pairs]).argmax()])
    for name in ("complementarity", "heterogeneity"):
        for r, rule in enumerate(RULES):
            for group, pairs in {"all": case.ordered, "close": case.ordered & _close(case)}.items():
                key = f"by_rule/{rule_name(rule)}/{name}/{group}"
                out[key] = _rho(found[name][pairs], case.gains[r][pairs])
    for group, pairs in groups.items():
        fitted = case.points.fit_right[..., 0].max(axis=0) - case.fit_right[case.better]
        swept = case.gain[pairs][fitted[pairs].argmax()]
        out |= {f"measures/sweep/{group}/picked": float(swept)}
        out |= {f"measures/random/{group}/picked": float(case.gain[pairs].mean())}
        out |= {f"measures/pairs/{group}": float(pairs.sum())}
    return out


def _close(case: Case) -> np.ndarray:
    return case.gap <= CLOSE


def _rho(values: np.ndarray, gains: np.ndarray) -> float:
    from scipy.stats import spearmanr  # takes seconds to import

    return float(spearmanr(values, gains).statistic)


def families(case: Case) -> Numbers:
    """The gain of close pairs of one architecture, of one family, and of two."""
    bare = [re.sub(r"_(keras|pytorch)$", "", model).replace("_", "") for model in case.models]
    family = [found[0] for found in map(FAMILY.match, bare) if found]
    alike, related = (np.equal.outer(*2 * (np.array(each),)) for each in (bare, family))
    kinds = {"architecture": alike, "family": related & ~alike, "different": ~related}
    out: Numbers = {}
    for name, kind in kinds.items():
        out |= _spread(f"families/{name}", case.gain[case.unordered & _close(case) & kind])
    return out


def images_needed(case: Case) -> Numbers:
    """What n of the fitting images, chosen at random, lose against all of them."""
    rows = np.random.default_rng(case.seed).permutation(np.flatnonzero(case.halving.fitting))
    few = [np.isin(np.arange(len(case.halving.fitting)), rows[:n]) for n in SIZES if n <= len(rows)]
    several = case.halving.points([(images, Asked(case.macs)) for images in few])
    out: Numbers = {}
    for images, points in zip(few, several, strict=True):
        n, right = int(images.sum()), case.halving.scores.correct[:, images].sum(axis=1)
        fitted = np.where(case.ordered, points.fit_right[..., 0], -1)
        best = np.unravel_index(fitted.argmax(), fitted.shape)
        lost = (case.points.right[..., 0] - points.right[..., 0])[:, case.ordered] / case.n
        found = {
            "promised": fitted[best] / n,
            "cascade": points.right[(*best, 0)] / case.n,
            "single": case.accuracy[right.argmax()],
            "lost": lost.mean(),
        }
        out |= {f"images/{n}/{key}": float(value) for key, value in found.items()}
    return out


def one_split(case: Case) -> Numbers:
    """A twentieth of the ordered pairs: cross-fitted on the fitting half alone, and told of the
    reporting half, with the same λ."""
    scores = case.halving.scores
    fit, other = (scores.of_images(each) for each in (case.halving.fitting, case.halving.reporting))
    pairs = [(int(a), int(b)) for a, b in np.argwhere(case.ordered)][case.seed :: HALVINGS]
    question = ThresholdQuestion(tuple(dict.fromkeys(r.score for r in RULES)), objectives=("best",))
    told = [
        [row for row, _ in cross_fitted_points(reported, plan, pairs, question)]
        for reported, plan in (
            (fit, FitPlan("cross-fit", scores.split, fit, ())),
            (other, FitPlan("other-split", scores.split, fit, ())),
        )
    ]
    found = np.array([
        (one.accuracy.value - two.accuracy.value, np.hypot(one.accuracy.half, two.accuracy.half),
         one.fit.fit_accuracy - two.accuracy.value,
         one.against.accuracy_change.value - two.against.accuracy_change.value)
        for one, two in zip(*told, strict=True)
    ])  # fmt: skip
    difference, half, in_sample, gain = found.T
    return {
        "splits/n": float(len(found)),
        "splits/difference": float(difference.mean()),
        "splits/within": float((abs(difference) <= half).mean()),
        "splits/in_sample": float(in_sample.mean()),
        "splits/gain_difference": float(gain.mean()),
        "splits/gain_apart": float(abs(gain).mean()),
    }


QUESTIONS: tuple[Callable[[Case], Numbers], ...] = (
    *(beats, most_accurate, saves, frontier, postcheck),
    *(predicts, families, images_needed, one_split),
)


def answers(case: Case) -> Numbers:
    """All of them."""
    return {key: value for question in QUESTIONS for key, value in question(case).items()}


def rule_name(rule: tuple[str, bool]) -> str:
    """As a key: `maxp-p` is maxp with post-check."""
    return f"{rule[0]}{'-p' if rule[1] else ''}"


def pairs(case: Case) -> np.ndarray:
    """float64 [M(M − 1)/2, 4], each pair in the order of the models: gain, complementarity,
    heterogeneity, difference of accuracy."""
    found = measured(case)
    gain = np.where(case.unordered, case.gain, case.gain.T)
    columns = (gain, found["complementarity"], found["heterogeneity"], case.gap)
    return np.stack([each[np.triu_indices(len(each), 1)] for each in columns], axis=1)
