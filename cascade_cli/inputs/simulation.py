"""A cascade simulated: its requests, what they cost, and what its memory recalls."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import cascade_pricer
from cascade_cli.inputs.scores import with_references
from cascade_cli.inputs.stream import memory_policy, memory_recall, streamed
from stages import simulate as stage
from stages.cascade import Cascade, MemoryPolicy
from stages.costs import Pricer
from stages.scores import ScoreSet
from stages.simulate import FittedLimit, Recall, SimulatedCascade, Stream, requested

Pair = tuple[str, str]


@dataclass(frozen=True)
class RequestSet:
    """Requests for a cascade: its scores by request, those of all models that it may be compared
    with, the stream and its name in the cache, and what a memory recalls."""

    scores: ScoreSet
    everyone: ScoreSet
    stream: Stream
    name: str | None
    policy: MemoryPolicy | None
    recall: Recall | None

    def first(self, n: int) -> RequestSet:
        """The first n requests."""
        scores, everyone = (each.of_images(slice(n)) for each in (self.scores, self.everyone))
        return replace(
            self, scores=scores, everyone=everyone, recall=self.recall and self.recall.first(n)
        )


def request_set(
    store: Store,
    scores: ScoreSet,
    pair: Pair,
    options: opt.MemoryOptions,
    wanted: opt.LogitsOptions,
    batch_size: int,
) -> RequestSet:
    """The requests about the images of `scores`; what the cache lacks is made if it can be."""
    policy, everyone = memory_policy(options), with_references(store, scores)
    shown, made, name = streamed(store, scores, pair, options, wanted)
    turned = made.used != ["identity"]
    everyone = shown if turned else requested({"identity": everyone}, made)
    recall = memory_recall(store, shown, made, policy, batch_size, wanted)
    return RequestSet(shown, everyone, made, name, policy, recall)


def pricer_of_requests(
    store: Store, asked: RequestSet, pair: Pair, costs: opt.CostOptions
) -> Pricer | None:
    """Prices for the cascade, with those of its memory; None where no cost is known."""
    memory = None if asked.policy is None else asked.policy.algorithm
    return cascade_pricer(store, asked.everyone, pair, costs, memory)


def simulated(
    store: Store,
    scores: ScoreSet,
    decided: tuple[Cascade, FittedLimit],
    options: opt.MemoryOptions,
    wanted: opt.LogitsOptions,
    costs: opt.CostOptions | None,
) -> tuple[SimulatedCascade, str | None]:
    """The row of `simulate` and its stream's name.

    `decided` is the cascade and how its λ came about; without `costs` none are told.
    """
    cascade, fit = decided
    pair = (cascade.models[0], cascade.models[1])
    batch_size = opt.CostOptions().batch_size if costs is None else costs.batch_size
    asked = request_set(store, scores, pair, options, wanted, batch_size)
    pricer = None if costs is None else pricer_of_requests(store, asked, pair, costs)
    row = stage.run(store, asked.scores, cascade, fit, pricer, asked.recall, {"stream": asked.name})
    return row, asked.name
