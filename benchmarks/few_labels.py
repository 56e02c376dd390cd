"""Certificates from few labels: are they kept, and how many labels do they need?

    python -m benchmarks.few_labels [--sizes 2000,5000,10000] [--processes 2] [--smoke]

Images are drawn with replacement from the 50,000 of ImageNet whose true labels and models' answers
are known. 3/7 n of them, labelled, propose; n, whose labels are asked for, certify. What is
certified runs on the whole population. A row tells, over the draws of all pairs: how often the
promise was broken, which may happen in δ = 10 %, and of the worst pair; the median use of B, 1
where nothing cheaper than the reference was certified; the median and the 90th percentile of the
labels asked for, as a share of n. The kinds of certificate:

    all     every label is known: binomial, all disagreements count
    few     the same plan by the labels that it asks for; the same λ, or the benchmark stops
    half    a coin asks for half of the disagreements
    budget  at most 30 labels, the share as the plan chooses it
    none    no label: promises the reference's answers, proposed by disagreement
    betting every label of the candidates that are tested
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np

from benchmarks.populations import IMAGENET, Population, real
from stages.cascade import Cascade, Outcome, decide
from stages.certify import Limits
from stages.costs import ExpectedCosts
from stages.few_labels import ALL, CalibrationImages
from stages.few_labels.plan import DISAGREEMENT, LOSS, Plan, PlannedModel
from stages.few_labels.proposing import candidates, share_of
from stages.scores import ScoreSet
from stages.search import Shortlist, Space, rules

FILE, DELTA, BUDGET = "imagenet_top2.parquet", 0.1, 30
# How often each pair is drawn, by n.
DRAWS, EPSILONS = {2000: 400, 5000: 200, 10_000: 100}, (0.005, 0.01, 0.02)
KINDS = ("all", "few", "half", "budget", "none", "betting")
# Billions of multiply-adds, as torchvision states them.
MORE = {"resnet34_pytorch": 3.7, "densenet121_pytorch": 2.8, "resnet152_pytorch": 11.5}
TEN = IMAGENET | MORE
_CHEAP = ("mobilenetV2_keras", "resnet18_pytorch", "resnet50_pytorch")
PAIRS = (
    *((a, b) for a in _CHEAP[:2] for b in ("resnet50_pytorch", "xception_keras")),
    *((a, "nasnetlarge_keras") for a in _CHEAP),
    *(("alexnet_pytorch", b) for b in ("resnet18_pytorch", "resnet50_pytorch")),
    ("resnet50_pytorch", "xception_keras"),
)


@dataclass(frozen=True)
class Drawn:
    """Of one certificate: whether its promise is truly broken, use of B, labels as a share of n."""

    broken: bool
    usage: float
    labels: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=",".join(map(str, DRAWS)))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="5 draws of the smallest size")
    args = parser.parse_args()
    if _population(tuple(TEN)) is None:
        return
    draws = {n: DRAWS[n] for n in map(int, args.sizes.split(","))}
    draws = {min(draws): 5} if args.smoke else draws
    tell("ten pairs", PAIRS, draws, KINDS, args.processes)
    tell("all pairs of ten models", [tuple(TEN)], draws, KINDS[:2], args.processes)


def tell(
    what: str,
    groups: Sequence[tuple[str, ...]],
    draws: Mapping[int, int],
    kinds: Sequence[str],
    processes: int,
) -> None:
    """A table of the rows of all groups of models together."""
    begun = time.perf_counter()
    print(what)
    print("  draws      n      ε  kind       broken          worst    use of B    labels, 90 %")
    for n, count in draws.items():
        found: dict[tuple[float, str], list[list[Drawn]]] = defaultdict(list)
        with ProcessPoolExecutor(processes) as pool:
            tasks = [(group, n) for group in groups]
            for rows in pool.map(partial(_drawn, kinds, count), tasks):
                for key in rows[0]:
                    found[key].append([each[key] for each in rows])
        for (epsilon, kind), each in found.items():
            print(_shown(n, epsilon, kind, each), flush=True)
    print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)


def _shown(n: int, epsilon: float, kind: str, groups: Sequence[Sequence[Drawn]]) -> str:
    worst = max(np.mean([drawn.broken for drawn in group]) for group in groups)
    each = [drawn for group in groups for drawn in group]
    broken, usage, labels = (np.array([getattr(d, f) for d in each]) for f in Drawn.__annotations__)
    rate = broken.mean()
    error = np.sqrt(rate * (1 - rate) / len(each))
    return (
        f"  {len(each):5}  {n:5}  {epsilon:5.1%}  {kind:8}  {rate:6.2%} ± {error:.2%}  "
        f"{worst:6.2%}  {np.median(usage):10.1%}  {np.median(labels):8.2%} "
        f"{np.quantile(labels, 0.9):6.2%}"
    )


@cache
def _population(names: tuple[str, ...]) -> Population | None:
    return real("imagenet", FILE, {name: TEN[name] for name in names})


def _drawn(
    kinds: Sequence[str], draws: int, task: tuple[tuple[str, ...], int]
) -> list[dict[tuple[float, str], Drawn]]:
    """Of each draw, by (ε, kind)."""
    names, n = task
    population = _population(names)
    if population is None:
        raise FileNotFoundError(FILE)
    rows = []
    for seed in range(draws):
        rng = np.random.default_rng([seed, n, *map(ord, names[0] + names[-1])])
        proposing, certifying = (population.drawn(rng, k) for k in (n * 3 // 7, n))
        rows.append(dict(_certified(population, proposing, certifying, kinds, seed)))
    return rows


def _certified(
    population: Population,
    proposing: ScoreSet,
    certifying: ScoreSet,
    kinds: Sequence[str],
    seed: int,
) -> Iterator[tuple[tuple[float, str], Drawn]]:
    """((ε, kind), what came of it)."""
    draw = _Draw(population, proposing, certifying, seed)
    for epsilon in EPSILONS:
        plan = draw.plan(epsilon)
        images = draw.images(plan)
        every, few = draw.certificate(images, known=True), draw.certificate(images)
        if few.point != every.point:
            raise RuntimeError(f"another λ than by all labels: draw {seed}, {plan.n}, {epsilon}")
        found = {"all": every, "few": few}
        if "half" in kinds:
            found["half"] = draw.certificate(draw.images(replace(plan, share=0.5)))
            bounded = replace(plan, label_budget=BUDGET)
            found["budget"] = draw.certificate(
                draw.images(replace(bounded, share=share_of(bounded)))
            )
            found["none"] = draw.certificate(draw.images(draw.plan(epsilon, risk=DISAGREEMENT)))
            found["betting"] = draw.certificate(draw.images(draw.plan(epsilon, "betting")))
        for kind, each in found.items():
            yield (epsilon, kind), draw.judged(each, kind == "none", epsilon)


@dataclass(frozen=True)
class _Found:
    """None: nothing cheaper than the reference."""

    point: Cascade | None
    labels: int


@dataclass(frozen=True)
class _Images(CalibrationImages):
    """Plans that share candidates share what these answer."""

    outcomes: dict[Cascade, Outcome]

    def outcome(self, c: int) -> Outcome:
        cascade = self.plan.candidates[c].cascade
        if cascade not in self.outcomes:
            self.outcomes[cascade] = super().outcome(c)
        return self.outcomes[cascade]


@dataclass(frozen=True)
class _Draw:
    population: Population
    proposing: ScoreSet
    certifying: ScoreSet
    seed: int

    @cached_property
    def outcomes(self) -> dict[Cascade, Outcome]:
        return {}

    @cached_property
    def shortlists(self) -> dict[str, Shortlist]:
        """What does not depend on ε, by the risk."""
        return {}

    @cached_property
    def reference(self) -> int:
        """The most accurate on the images that propose."""
        return int(self.proposing.correct.sum(axis=1).argmax())

    def plan(self, epsilon: float, bound: str = "binomial", risk: str = LOSS) -> Plan:
        part, name = self.proposing, self.proposing.models[self.reference]
        if risk == DISAGREEMENT:
            part = _answered_as(part, self.reference)
        n, costs = len(part.labels), self.population.costs
        if risk not in self.shortlists:
            space = Space(tuple(rules(list(part.scores))))
            where = (part, ExpectedCosts.linear(costs, n), space, name, np.arange(n))
            self.shortlists[risk] = Shortlist.of(*where)
        limits = Limits(epsilon, DELTA, bound)
        named = zip(part.models, costs.tolist(), strict=True)
        return Plan(
            dataset=part.dataset,
            split=part.split,
            runtime=None,
            images="",
            n=len(self.certifying.labels),
            part=False,
            proposing_split="",
            proposed=n,
            models={name: PlannedModel(outputs="", cost=cost) for name, cost in named},
            cost_kind="macs",
            cost_unit="",
            reference=name,
            risk=risk,
            epsilon=epsilon,
            delta=DELTA,
            bound=bound,
            share=1.0,
            seed=self.seed,
            max_usage=None,
            max_cost=None,
            label_budget=None,
            per=None,
            hold=ALL,
            strata=(),
            accuracy_sample=0,
            made="",
            candidates=candidates(self.shortlists[risk], part, limits),
        )

    def images(self, plan: Plan) -> CalibrationImages:
        return _Images(plan, _answered_as(self.certifying, self.reference), (), self.outcomes)

    def certificate(self, images: CalibrationImages, known: bool = False) -> _Found:
        """By the labels that the plan asks for, as it asks for them."""
        plan, truth = images.plan, self.certifying.labels.astype(np.int32)
        labels = truth.copy() if known else images.unlabelled
        standing, asked = images.standing(labels), 0
        budget = plan.n if plan.label_budget is None else plan.label_budget
        while not standing.ended and asked < budget:
            rows = standing.asks[: min(standing.at_once, budget - asked)]
            labels[rows], asked = truth[rows], asked + len(rows)
            standing = images.standing(labels, standing.passed)
        costs = images.costs[: standing.passed]
        if not len(costs) or costs.min() >= plan.models[plan.reference].cost:
            return _Found(None, asked)
        return _Found(plan.candidates[int(costs.argmin())].cascade, asked)

    def judged(self, found: _Found, by_answers: bool, epsilon: float) -> Drawn:
        """On the whole population."""
        labels = found.labels / len(self.certifying.labels)
        if found.point is None:
            return Drawn(broken=False, usage=1.0, labels=labels)
        scores, reference = self.population.scores, self.reference
        true: Outcome = decide(scores, found.point)
        lost = scores.accuracy[reference] - true.accuracy
        if by_answers:
            lost = (true.prediction != scores.predictions[reference]).mean()
        return Drawn(bool(lost > epsilon), float(true.escalated.mean()), labels)


def _answered_as(scores: ScoreSet, reference: int) -> ScoreSet:
    answers = scores.predictions[reference]
    return replace(scores, labels=answers, correct=scores.predictions == answers)


if __name__ == "__main__":
    main()
