"""Does each answer mean what it says? Searches on draws from populations whose truth is known.

    python -m benchmarks.honesty --draws 2000        # an hour on one core
    python -m benchmarks.honesty --draws 100 --only few

Images are drawn with replacement under fresh keys; what is true of the deployed cascade, or of a
difference, is computed on the whole population. Tolerances are three standard errors of the draws.
The figures are told in docs/methods.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks.populations import IMAGENET, Population, real, score_set
from cache import InputError
from stages.cascade import Cascade, decide
from stages.costs import Pricer, Prices
from stages.costs.table import Curve
from stages.search import (
    ACCURACY,
    BEST,
    COST,
    MEETS,
    MISSES,
    Question,
    Search,
    SearchRow,
    Space,
    rules,
)
from stages.search.verdict import WORTH, Verdict
from stages.statistics import Interval, Paired, change
from stages.threshold import FitPlan

SPACE = Space(tuple(rules(("maxp", "difference"))))
MARGIN = 0.01


def latent(name: str, accuracies: Sequence[float], costs: Sequence[float], n: int) -> Population:
    """Whether a model is right is a normal variable of each image, correlated 0.8 between models,
    below the quantile of its accuracy; how sure it is, the same with noise."""
    rng = np.random.default_rng(20240903)
    shared = rng.standard_normal(n)
    right, sure = np.empty((2, len(accuracies), n))
    for m, accuracy in enumerate(accuracies):
        each = sqrt(0.8) * shared + sqrt(0.2) * rng.standard_normal(n)
        right[m] = each < NormalDist().inv_cdf(accuracy)
        sure[m] = 1 / (1 + np.exp(each + 0.7 * rng.standard_normal(n)))
    names = tuple(f"model_{m}" for m in range(len(accuracies)))
    answers = (1 - right).astype(np.int32)  # the label is 0
    labels = np.zeros(n, np.int32)
    return Population(
        name,
        score_set(names, labels, answers, {"maxp": sure, "difference": sure**2}),
        np.array(costs),
    )


def imagenet() -> Population | None:
    names = ("alexnet", "mobilenet", "resnet18", "resnet50", "nasnetlarge")
    costs = {full: cost for full, cost in IMAGENET.items() if full.partition("_")[0] in names}
    costs |= {"mobilenet_keras": 0.57}
    return real("five ImageNet models", "imagenet_top2.parquet", costs)


# --- one draw ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A search on a draw: its answer and verdict, and what is true of it on the population."""

    row: SearchRow
    verdict: Verdict
    truth: dict[str, float]

    @property
    def change(self) -> Interval:
        """Of accuracy, as told."""
        return self.row.against.accuracy_change


def ask(
    population: Population, rng: np.random.Generator, n: int, question: Question, splits: int
) -> Asked:
    """Of n images, or n that fit and n others that are reported."""
    reported = population.drawn(rng, n, "test")
    plan = FitPlan("cross-fit", "test", reported, ("one split",))
    if splits == 2:
        plan = FitPlan("other-split", "val", population.drawn(rng, n, "val"), ())
    names = population.scores.models
    pricer = Pricer(reported, prices(names, population.costs))
    search = Search.of(reported, plan, pricer, SPACE, question)
    row, verdict = search.answer()
    return Asked(row, verdict, truth(population, search.point, row, verdict))


def prices(names: Sequence[str], costs: np.ndarray) -> Prices:
    curves = {}
    for name, cost in zip(names, costs, strict=True):
        once = np.array([cost])
        curves[name] = Curve(np.array([1]), once, once, once)
    return Prices("macs", "multiply-adds", None, "", curves, {})


def truth(
    population: Population, point: Cascade, row: SearchRow, verdict: Verdict
) -> dict[str, float]:
    scores = population.scores
    found = decide(scores, point)
    cost, baseline = population.cost(point, found), scores.index(row.against.baseline)
    return {
        "accuracy": found.accuracy,
        "usage": found.usage(),
        "cost": cost,
        "saved": 1 - cost / float(population.costs[baseline]),
        "accuracy_change": found.accuracy - float(scores.accuracy[scores.index(verdict.model)]),
    }


# --- what must hold ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A share of the draws, and between what it must lie; None where it is only shown."""

    what: str
    share: float
    draws: int
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool:
        """Within three standard errors of the draws."""
        low = self.least is None or self.share >= self.least - self._error(self.least)
        return low and (self.most is None or self.share <= self.most + self._error(self.most))

    def _error(self, limit: float) -> float:
        return 3 * sqrt(limit * (1 - limit) / max(self.draws, 1))

    def __str__(self) -> str:
        limits = [f"{w} {x:.1%}" for w, x in (("≥", self.least), ("≤", self.most)) if x is not None]
        told = f"  ({', '.join(limits)})" if limits else ""
        failed = "" if self.holds else "  BROKEN"
        return f"  {self.what:<58} {self.share:6.1%} of {self.draws:5}{told}{failed}"


FIGURES = ("accuracy", "accuracy_change", "usage", "cost", "saved")


def answered(call: Callable[..., Asked], *how: Any, draws: int) -> Iterator[Asked]:
    """Those of so many draws that have an answer: an accuracy that nothing reaches on the images
    that choose is refused."""
    for _ in range(draws):
        try:
            yield call(*how)
        except InputError:
            continue


def coverage(
    population: Population, n: int, question: Question, draws: int, seed: int
) -> Iterator[Line]:
    """One split: how often the interval of each figure holds what is true of the deployed cascade.

    The saving of a model alone, and what never varies, has an interval without width.
    """
    rng = np.random.default_rng(seed)
    found = list(answered(ask, population, rng, n, question, 1, draws=draws))
    draws = len(found)
    for name in FIGURES:
        inside = [
            told[f"{name}_low"] - 1e-12 <= each.truth[name] <= told[f"{name}_high"] + 1e-12
            for each in found
            for told in [each.row.columns()]
        ]
        yield Line(
            f"{question.kind}: the interval of {name}", float(np.mean(inside)), draws, 0.93, 0.99
        )
    beside = sum(e.verdict.worth == WORTH and e.verdict.target != MEETS for e in found)
    told = f"{question.kind}: WORTH IT beside a target that is not met"
    yield Line(told, beside / draws, draws, most=0.0)
    yield from sure_of(f"{question.kind}: ", found)


def sure_of(what: str, found: Sequence[Asked]) -> Iterator[Line]:
    """How often a change of accuracy is told to be surely of one sign, and is not."""
    for side, wrong in (
        ("higher", lambda e: e.change.low > 0 >= e.truth["accuracy_change"]),
        ("lower", lambda e: e.change.high < 0 <= e.truth["accuracy_change"]),
    ):
        share = float(np.mean([wrong(each) for each in found]))
        yield Line(f"{what}surely {side}, and is not", share, len(found), most=0.025)


def matching(population: Population, n: int, splits: int, draws: int, seed: int) -> Iterator[Line]:
    """`match` the best single model within a point: false promises, and how often it can tell."""
    rng = np.random.default_rng(seed)
    found = [ask(population, rng, n, Question(), splits) for _ in range(draws)]
    told = f"n = {n:5,}, {splits} split{'s' * (splits > 1)}: "
    meets = [each for each in found if each.verdict.target == MEETS]
    false = [each for each in meets if each.truth["accuracy_change"] <= -MARGIN]
    saves = [each for each in meets if each.truth["saved"] > 0]
    yield Line(f"{told}MEETS, and is a point worse", len(false) / draws, draws, most=0.05)
    power = 0.8 if n == 2000 else None
    yield Line(f"{told}MEETS with something cheaper", len(saves) / draws, draws, least=power)
    wrong = [e for e in found if e.verdict.target == MISSES]
    wrong = [e for e in wrong if e.truth["accuracy_change"] > -MARGIN]
    yield Line(f"{told}MISSES, and does not", len(wrong) / draws, draws, most=0.05)
    beside = [e for e in found if e.verdict.worth == WORTH and e.verdict.target != MEETS]
    yield Line(f"{told}WORTH IT beside a miss", len(beside) / draws, draws, most=0.0)
    saved = np.median([each.truth["saved"] for each in meets]) if meets else 0.0
    yield Line(f"{told}the median saving of what MEETS", float(saved), len(meets))


def assured(
    population: Population, n: int, question: Question, splits: int, draws: int, seed: int
) -> Iterator[Line]:
    """An accuracy or a cost asked for with confidence: how often it is told as met, and is not."""
    rng = np.random.default_rng(seed)
    name, sign = ("accuracy", 1) if question.kind == ACCURACY else ("cost", -1)
    meets = false = 0
    for each in answered(ask, population, rng, n, question, splits, draws=draws):
        meets += each.verdict.target == MEETS
        short = sign * (each.truth[name] - float(question.value or 0)) < 0
        false += each.verdict.target == MEETS and short
    told = f"n = {n:5,}, {splits} split{'s' * (splits > 1)}, {question.kind}: "
    yield Line(f"{told}MEETS, and does not", false / draws, draws, most=0.05)
    yield Line(f"{told}MEETS", meets / draws, draws)


def sure_limits(draws: int, seed: int) -> Iterator[Line]:
    """The limits of a paired difference where few images differ, won and lost at these rates."""
    rng = np.random.default_rng(seed)
    for n, won, lost in ((500, 0.004, 0.004), (500, 0.001, 0.004), (2000, 0.005, 0.005),
                         (500, 0.02, 0.02), (300, 0.05, 0.03), (500, 0.0, 0.002)):  # fmt: skip
        counts = rng.multinomial(n, [won, lost, 1 - won - lost], draws)
        limits = [change(Paired(int(w), int(x), n)) for w, x, _ in counts]
        about = f"n = {n:5,}, {won:.1%} won, {lost:.1%} lost: "
        for side, wrong in (
            ("above", np.mean([each.low > won - lost for each in limits])),
            ("below", np.mean([each.high < won - lost for each in limits])),
        ):
            yield Line(f"{about}the limits lie {side} the truth", float(wrong), draws, most=0.025)


# --- all of it -----------------------------------------------------------------------------------

SIX = ("six equal models", [0.8] * 6, [1.0] * 6)
UNLIKE = ("three unlike models", [0.8, 0.86, 0.9], [1.0, 3.0, 10.0])
PEOPLE = 200_000
Section = Callable[[int], Iterator[Line]]


def sections(only: Sequence[str]) -> Iterator[tuple[str, Section]]:
    """(title, lines of so many draws) of each group asked for."""
    if "covers" in only:
        six, unlike = latent(*SIX, PEOPLE), latent(*UNLIKE, PEOPLE)
        yield f"{six.name}, n = 300", lambda d: coverage(six, 300, Question(BEST), d, 1)
        for question in (Question(BEST), Question(COST, 4.0), Question(ACCURACY, 0.87)):
            yield (
                f"{unlike.name}, n = 500",
                lambda d, question=question: coverage(unlike, 500, question, d, 2),  # type: ignore[misc]
            )
    if "matches" in only:
        yield from _matching(latent(*UNLIKE, PEOPLE), (500, 2000))
        networks = imagenet()
        if networks is not None:
            yield from _matching(networks, (500, 2000, 5000))
    if "assured" in only:
        unlike = latent(*UNLIKE, PEOPLE)
        for question in (
            Question(ACCURACY, 0.85, confidence=0.95),
            Question(COST, 4.0, confidence=0.95),
        ):
            for splits in (1, 2):
                yield (
                    f"{unlike.name}: with confidence 0.95",
                    lambda d, q=question, s=splits: assured(unlike, 1000, q, s, d, 4),  # type: ignore[misc]
                )
    if "few" in only:
        yield "limits of a difference", lambda d: sure_limits(d, 5)


def _matching(population: Population, sizes: Sequence[int]) -> Iterator[tuple[str, Section]]:
    for n in sizes:
        for splits in (1, 2):
            yield (
                f"{population.name}: match the best single model within a point",
                lambda d, n=n, splits=splits: matching(population, n, splits, d, 3),  # type: ignore[misc]
            )


GROUPS = ("covers", "matches", "assured", "few")


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.honesty", description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--only", nargs="*", choices=GROUPS, default=GROUPS)
    asked = parser.parse_args(words)
    broken = 0
    title = None
    for heading, lines in sections(asked.only):
        if heading != title:
            print(heading, flush=True)
            title = heading
        for line in lines(asked.draws):
            print(line, flush=True)
            broken += not line.holds
    print(f"{broken} broken" if broken else "all hold")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
