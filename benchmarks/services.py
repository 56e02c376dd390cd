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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks import populations
from stages.cascade import Cascade, decide
from stages.costs import Pricer, of_each_request
from stages.scores import ScoreSet
from stages.search import COST, Question, Search, Space, rules
from stages.statistics import change, paired
from stages.threshold import FitPlan, halves

SERVICES, CONFIDENCE, SPACE = 4, 0.95, Space(tuple(rules(["maxp"], [False])))
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


def services(path: Path) -> ScoreSet:
    """Answers, confidences (as maxp) and dollars per request of every service."""
    table = pq.read_table(path)
    names = [name.removesuffix(".prediction") for name in table.column_names[1::3]]

    def column(what: str) -> np.ndarray:
        return np.stack([table[f"{name}.{what}"].to_numpy() for name in names])

    sure = column("confidence").astype(np.float64)
    found = populations.score_set(
        names, table["label"].to_numpy(), column("prediction"), {"maxp": sure}
    )
    return replace(found, request_costs={"usd": column("usd_per_request")})


def halvings(
    scores: ScoreSet, budget: float, confidence: float | None, seeds: int = 200
) -> list[Halving]:
    return list(_halvings(scores, budget, Question(COST, budget, confidence=confidence), seeds))


def _halvings(
    scores: ScoreSet, budget: float, question: Question, seeds: int
) -> Iterator[Halving]:
    for seed in range(seeds):
        mine = halves(scores.labels, seed)
        fit, other = scores.of_images(mine), scores.of_images(~mine)
        prices = of_each_request(other, other.models, "usd")
        if prices is None:
            raise ValueError("the costs of some service are unknown")
        pricer = Pricer(other, prices)
        plan = FitPlan("other-split", "the first half", fit, ())
        point = Search.of(other, plan, pricer, SPACE, question).point
        within = [m for m in range(SERVICES) if pricer.model(scores.models[m]).low <= budget]
        single = max(within, key=lambda m: float(fit.accuracy[m]))
        found = decide(other, point)
        won = change(paired(found.correct, other.correct[single]))
        over = pricer.request(point.models, found.stage).low > budget
        yield Halving(100 * won.value, won.high < 0, won.low > 0, over)


def limit(seeds: int) -> float:
    """The largest share of halvings that may be called surely worse."""
    return WORSE + 3 * sqrt(WORSE * (1 - WORSE) / seeds)


def main(path: str) -> int:
    scores = services(Path(path))
    print(f"{len(scores.labels)} images; surely worse in at most {limit(200):.1%} of 200 halvings")
    print("  $ / 1,000  answer     points won (5th to 95th percentile)  worse  better  over budget")
    kept = True
    for budget in BUDGETS:
        for name, confidence in (("estimated", None), ("tested", CONFIDENCE)):
            found = halvings(scores, budget, confidence)
            points = [each.points for each in found]
            low, high = np.percentile(points, [5, 95])
            worse, better, over = (
                np.mean([getattr(each, word) for each in found])
                for word in ("worse", "better", "over")
            )
            kept &= bool(worse <= limit(200))
            print(
                f"  {1e3 * budget:9.2f}  {name:9}  {np.mean(points):+7.2f} ({low:+.2f} to {high:+.2f})"
                f"  {worse:12.1%}  {better:6.1%}  {over:6.1%}"
            )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
