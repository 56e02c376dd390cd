"""Four priced services on FER+: within a budget, is a cascade better than the best single service?

    python -m benchmarks.services FERPLUS_PARQUET

Each of 200 random halves names an answer to `--max-cost`, by its estimate and tested with
confidence 0.95, and the most accurate service within that budget; the other half says how much more
accurate the answer is, and whether it is surely worse, by a one-sided test at 2.5 %. A rule that is
never worse would be called so in at most 2.5 % of the halvings, give or take three standard errors.
Beside it stand how often it is surely better, and how often it surely costs more than the budget.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks import populations
from stages.cascade import Cascade, decide
from stages.costs import Pricer, Prices, costs_of, of_each_request
from stages.scores import ScoreSet
from stages.search import COST, Question, Space, rules
from stages.search.fitted_frontier import find
from stages.search.holdout import Test
from stages.search.ranking import nearest
from stages.statistics import change, paired
from stages.threshold import halves

# Confidences of two services do not compare, so there is no post-check.
SPACE, CONFIDENCE, HOW = Space(tuple(rules(["maxp"], [False]))), 0.95, ("estimated", "tested")
# US dollars per request.
BUDGETS = (1e-4, 2.5e-4, 5e-4, 7.5e-4, 1e-3, 1.25e-3, 1.5e-3)
WORSE = 0.025


@dataclass(frozen=True)
class Halving:
    """On the other half: points of accuracy won over the single service, whether that is surely
    less or more than 0, and whether the cost is surely above the budget."""

    points: float
    worse: bool
    better: bool
    over: bool


Halvings = dict[tuple[float, str], list[Halving]]


def services(path: Path) -> ScoreSet:
    """Answers, confidences (as maxp) and dollars per request of every service."""
    table = pq.read_table(path)
    names = tuple(name.removesuffix(".prediction") for name in table.column_names[1::3])

    def column(what: str) -> np.ndarray:
        return np.stack([table[f"{name}.{what}"].to_numpy() for name in names])

    sure = column("confidence").astype(np.float64)
    found = populations.score_set(
        names, table["label"].to_numpy(), column("prediction"), {"maxp": sure}
    )
    return replace(found, request_costs={"usd": column("usd_per_request")})


def halvings(scores: ScoreSet, seeds: int, budgets: Sequence[float] = BUDGETS) -> Halvings:
    """By budget and how the answer came about, of each of so many halves."""
    out: Halvings = {(budget, how): [] for budget in budgets for how in HOW}
    for seed in range(seeds):
        mine = halves(scores.labels, seed)
        naming, other = scores.of_images(mine), scores.of_images(~mine)
        pricer = Pricer(other, dollars(other))
        costs = costs_of(pricer, naming)
        found = find(naming, costs, SPACE)
        for budget in budgets:
            asked = Question(COST, budget, confidence=CONFIDENCE)
            estimated = found.points[nearest(asked, found.choices(asked))]
            tested = Test(naming, other, pricer, costs, SPACE.table, asked).answer() or estimated
            for how, point in zip(HOW, (estimated, tested), strict=True):
                out[budget, how].append(_held(naming, pricer, budget, point))
    return out


def dollars(scores: ScoreSet) -> Prices:
    prices = of_each_request(scores, scores.models, "usd")
    if prices is None:
        raise ValueError("what each request costs is not known of all services")
    return prices


def _held(naming: ScoreSet, pricer: Pricer, budget: float, point: Cascade) -> Halving:
    """Of an answer, on the pricer's images."""
    scores = pricer.scores
    within = [m for m, name in enumerate(scores.models) if pricer.model(name).value <= budget]
    single = max(within, key=lambda m: float(naming.accuracy[m]))
    found = decide(scores, point)
    won = change(paired(found.correct, scores.correct[single]))
    over = pricer.request(point.models, found.stage).low > budget
    return Halving(100 * won.value, won.high < 0, won.low > 0, over)


def limit(seeds: int) -> float:
    """The largest share of halvings that may be called surely worse."""
    return WORSE + 3 * sqrt(WORSE * (1 - WORSE) / seeds)


def main(path: str) -> int:
    scores = services(Path(path))
    print(f"{len(scores.labels)} images; surely worse in at most {limit(200):.1%} of 200 halvings")
    print("  $ / 1,000  answer     points won (5th to 95th percentile)  worse  better  over budget")
    for (budget, how), found in halvings(scores, 200).items():
        points, *shares = np.array([astuple(each) for each in found], np.float64).T
        low, high = np.percentile(points, [5, 95])
        worse, better, over = (f"{share.mean():.1%}" for share in shares)
        print(
            f"  {1e3 * budget:9.2f}  {how:9}  {points.mean():+7.2f} ({low:+6.2f} to {high:+6.2f})"
            f"  {worse:>14}  {better:>6}  {over:>11}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
