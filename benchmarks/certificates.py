"""What a certificate costs and whether it is kept: both bounds on images drawn from populations.

    python -m benchmarks.certificates [--draws 2000] [--smoke]

A population is a large set of images of which everything is known: three synthetic models whose
mistakes are partly their own, and real models' answers in ../shared/data/outputs. Images drawn from
it with replacement are searched as `cascade search --certify EPSILON,0.1` does, with the most
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.special import ndtr, ndtri

from stages.allpairs import rules
from stages.bounds import BOUNDS
from stages.certify import Limits
from stages.found import Space
from stages.guarantee import Promise, Shortlist
from stages.operating import OperatingPoint, outcome
from stages.score import ScoreSet

OUTPUTS = Path(__file__).parents[2] / "shared" / "data" / "outputs"
# Billions of multiply-adds of an image.
IMAGENET = {
    "mobilenetV2_keras": 0.3,
    "alexnet_pytorch": 0.7,
    "resnet18_pytorch": 1.8,
    "resnet50_pytorch": 4.1,
    "inceptionv3_keras": 5.7,
    "xception_keras": 8.4,
    "nasnetlarge_keras": 23.8,
}
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
class Population:
    """Images to draw from, and what a request by each of the M models costs: float64 [M]."""

    name: str
    scores: ScoreSet
    costs: np.ndarray

    @property
    def reference(self) -> int:
        return int(self.scores.accuracy.argmax())

    def drawn(self, rng: np.random.Generator, n: int) -> ScoreSet:
        return self.scores.of_images(rng.integers(len(self.scores.labels), size=n))

    def truth(self, point: OperatingPoint) -> tuple[float, float]:
        """(cost, accuracy lost) against the reference, on all images."""
        rows = [self.scores.index(model) for model in point.models]
        found = outcome(self.scores, point)
        used = [found.usage(stage) for stage in range(len(rows))]
        cost = self.costs[rows] @ np.array(used) / self.costs[self.reference]
        return float(cost), float(self.scores.accuracy[self.reference] - found.accuracy)


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
        path = OUTPUTS / f"{name}_top2.parquet"
        if path.exists():
            yield real(name, path, costs)
        else:
            print(f"{name} skipped: no {path}")


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
    name = images.models[population.reference]
    space = Space(tuple(rules(list(images.scores))))
    shortlist = Shortlist.of(images, population.costs, space, name)
    for epsilon, bound in table:
        point = shortlist.certified(Promise(Limits(epsilon, DELTA, bound), name)).point
        if point is None:
            raise RuntimeError("nothing is infeasible without a cap")
        yield point.models != (name,), *population.truth(point)


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
    return _population(
        "synthetic", names, np.zeros(images, np.int32), answers, {"maxp": sure}, costs
    )


def real(name: str, path: Path, costs: Mapping[str, float]) -> Population:
    """The two largest probabilities of these models, which give maxp and difference exactly."""
    wanted = [f"{m}.{column}" for m in costs for column in ("class_1", "p_1", "p_2")]
    table = pq.read_table(path, columns=["label", *wanted])

    def stacked(column: str) -> np.ndarray:
        return np.stack([table[f"{model}.{column}"].to_numpy() for model in costs])

    first, second = (stacked(each).astype(np.float64) for each in ("p_1", "p_2"))
    return _population(
        name,
        tuple(costs),
        table["label"].to_numpy().astype(np.int32),
        stacked("class_1").astype(np.int32),
        {"maxp": first, "difference": first - second},
        np.array(list(costs.values())),
    )


def _population(
    name: str,
    models: tuple[str, ...],
    labels: np.ndarray,
    answers: np.ndarray,
    scores: dict[str, np.ndarray],
    costs: np.ndarray,
) -> Population:
    ids = np.arange(len(labels))
    images = ScoreSet(name, "all", models, ids, labels, answers, answers == labels, scores, ())
    return Population(name, images, costs)


if __name__ == "__main__":
    main()
