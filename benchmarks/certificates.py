"""What a certificate costs and whether it is kept: both bounds on images drawn from populations.

    python -m benchmarks.certificates [--draws 2000] [--smoke]

A population is a large set of images of which everything is known: three synthetic models whose
mistakes are partly their own, and real models' answers. Images drawn from
it with replacement are searched as `cascade search --certify MAX_LOSS,0.1` does, with the most
accurate model as the reference, and what was deployed runs on the whole population. A row tells,
over all draws: how often something cheaper than the reference was deployed; the median cost, where
the reference alone costs 1; and how often more than ε accuracy was truly lost, which may happen in
δ = 10 % of the draws. Real models cost their rounded multiply-adds.

2,000 draws on two busy cores, 21 minutes: betting costs no more than binomial in any row, most so
for models whose mistakes differ (synthetic, n = 2000, ε = 1 %: 0.50 against 0.81), least for
imagenet's 500 images at 2 % (0.550 against 0.552); at most 5.0 ± 0.5 % of the draws lost too much.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.populations import IMAGENET, Population, real, score_set
from stages.cascade import decide
from stages.certify import Limits
from stages.certify.bounds import BOUNDS
from stages.costs import ExpectedCosts
from stages.scores import ScoreSet
from stages.search import Promise, Space, rules
from stages.search.guarantee import Shortlist

# About how many billions of multiply-adds an image takes.
CIFAR10 = {
    "vgg11_bn": 0.15,
    "resnet18": 0.56,
    "densenet121": 0.9,
    "resnet50": 1.3,
    "googlenet": 1.5,
}
# Of the synthetic models: accuracy and cost, the share of their luck that they have in common, and
# the noise of their scores.
SYNTHETIC = ((0.70, 1.0), (0.76, 3.0), (0.80, 10.0))
SHARED, NOISE = 0.6, 0.7

SIZES, EPSILONS, DELTA = (500, 2000, 5000), (0.005, 0.01, 0.02), 0.1


@dataclass(frozen=True)
class Row:
    """Of all draws of n images: the share in which something else than the reference was deployed,
    the median cost over the reference's, and the share that lost more than ε."""

    n: int
    epsilon: float
    bound: str
    draws: int
    deployed: float
    cost: float
    broken: float

    @property
    def error(self) -> float:
        """Standard error of `broken`."""
        return float(np.sqrt(self.broken * (1 - self.broken) / self.draws))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--smoke", action="store_true", help="20 draws of the smaller sizes")
    args = parser.parse_args()
    draws, sizes = (20, SIZES[:2]) if args.smoke else (args.draws, SIZES)
    for population in populations():
        begun = time.perf_counter()
        print(f"{population.name}, {draws} draws")
        print("     n      ε    nε  bound      deployed  median cost  lost more than ε")
        for n in sizes:
            for row in measured(population, n, EPSILONS, draws):
                print(shown(row), flush=True)
        print(f"  {time.perf_counter() - begun:.0f} s")


def shown(row: Row) -> str:
    return (
        f"  {row.n:4}  {row.epsilon:5.1%}  {row.n * row.epsilon:4.0f}  {row.bound:9}  "
        f"{row.deployed:8.1%}  {row.cost:11.3f}  {row.broken:6.1%} ± {row.error:.1%}"
    )


def populations() -> Iterator[Population]:
    yield synthetic()
    for name, costs in (("imagenet", IMAGENET), ("cifar10", CIFAR10)):
        found = real(name, f"{name}_top2.parquet", costs)
        if found is not None:
            yield found


def measured(
    population: Population, n: int, epsilons: Sequence[float], draws: int, seed: int = 0
) -> list[Row]:
    """A row for each ε and bound, all of them on the same draws."""
    table = [(epsilon, bound) for epsilon in epsilons for bound in BOUNDS]
    found = np.empty((draws, len(table), 3))
    rng = np.random.default_rng([seed, n])
    for each in found:
        each[:] = list(_certified(population, population.drawn(rng, n), table))
    deployed, cost, lost = np.moveaxis(found, 2, 0)
    broken = lost > [epsilon for epsilon, _ in table]
    columns = (deployed.mean(axis=0), np.median(cost, axis=0), broken.mean(axis=0))
    return [
        Row(n, *limits, draws, *map(float, figures))
        for limits, *figures in zip(table, *columns, strict=True)
    ]


def _certified(
    population: Population, images: ScoreSet, table: Sequence[tuple[float, str]]
) -> Iterator[tuple[bool, float, float]]:
    """(something else than the reference, cost, accuracy lost) for each (ε, bound)."""
    m = int(population.scores.accuracy.argmax())
    name = images.models[m]
    space = Space(tuple(rules(list(images.scores))))
    costs = ExpectedCosts.linear(population.costs, len(images.labels))
    shortlist = Shortlist.of(images, costs, space, name)
    for epsilon, bound in table:
        point = shortlist.certified(Promise(Limits(epsilon, DELTA, bound), name)).point
        if point is None:
            raise RuntimeError("nothing is infeasible without a cap")
        true = decide(population.scores, point)
        lost = float(population.scores.accuracy[m] - true.accuracy)
        cost = population.cost(point, true) / float(population.costs[m])
        yield point.models != (name,), cost, lost


def synthetic(images: int = 100_000, seed: int = 0) -> Population:
    """A model is right where a normal variable, of which the models share a part, is below its
    quantile; its score is a noisy look at the distance from there."""
    rng = np.random.default_rng(seed)
    accuracy, costs = np.array(SYNTHETIC).T
    shape = (len(accuracy), images)
    luck = np.sqrt(SHARED) * rng.standard_normal(images)
    luck = luck + np.sqrt(1 - SHARED) * rng.standard_normal(shape)
    margin = ndtri(accuracy)[:, None] - luck
    sure = ndtr(0.5 + 0.8 * margin + NOISE * rng.standard_normal(shape))
    answers = np.where(margin > 0, 0, 1).astype(np.int32)
    names = tuple(f"m{m}" for m in range(len(accuracy)))
    scores = score_set(names, np.zeros(images, np.int32), answers, {"maxp": sure})
    return Population("synthetic", scores, costs)
