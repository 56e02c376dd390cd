"""A cascade simulated: its requests, what they cost, and what the memory in front of it recalls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import pricer_or_none
from cascade_cli.inputs.hashes import hash_images
from cascade_cli.inputs.scores import have_images, or_extracted, with_references
from cascade_cli.show.text import say
from stages import simulate as stage
from stages.cascade import Cascade, MemoryPolicy
from stages.costs import Pricer
from stages.hashes import hash_of
from stages.scores import ScoreSet
from stages.simulate import FittedLimit, Recall, SimulatedCascade, Stream, requested

Pair = tuple[str, str]


@dataclass(frozen=True)
class RequestSet:
    """Requests for a cascade: its scores by request, those of all models that it may be compared
    with, the stream and its name in the cache, and what a memory recalls, if there is one."""

    scores: ScoreSet
    everyone: ScoreSet
    stream: Stream
    name: str | None
    recall: Recall | None

    def pricer(self, store: Store, pair: Pair, costs: opt.CostOptions) -> Pricer | None:
        """Prices for the cascade, with those of its memory; None where no cost is known."""
        memory = None if self.recall is None else self.recall.policy.algorithm
        return pricer_or_none(store, self.everyone, pair, costs, memory, comparing=True)

    def first(self, n: int) -> RequestSet:
        """The first n requests."""
        scores, everyone = (each.of_images(slice(n)) for each in (self.scores, self.everyone))
        return replace(
            self, scores=scores, everyone=everyone, recall=self.recall and self.recall.first(n)
        )


def memory_policy(options: opt.MemoryOptions) -> MemoryPolicy | None:
    """The memory's policy; InputError for options that do not go together."""
    name, trust = options.memory, options.memory_trust
    if name is None:
        return None
    if options.memory_radius and hash_of(name).bits is None:
        raise InputError(f"{name} has no distance: leave out --memory-radius")
    if trust is not None and not 0 <= trust <= 1:
        raise InputError(f"--memory-trust {trust} is no score: give a number in [0, 1]")
    return MemoryPolicy(name, options.memory_size, options.memory_radius, trust)


def request_set(
    store: Store,
    scores: ScoreSet,
    pair: Pair,
    options: opt.MemoryOptions,
    wanted: opt.LogitsOptions,
    batch_size: int,
) -> RequestSet:
    """The requests about the images of `scores`; what the cache lacks is made if it can be.

    Each image once and in order is no stream worth a name.
    """
    policy, everyone = memory_policy(options), with_references(store, scores)
    made, shown, name = _stream(options, len(scores.labels)), scores, None
    turned, images = made.used != ["identity"], replace(wanted, variants=",".join(made.used))
    if turned or options.repeats:
        where, runtime = (scores.dataset, scores.split), wanted.runtime or scores.runtime
        shown = or_extracted(
            lambda: stage.scores(store, *where, pair, made, runtime, options.memory),
            *(store, where, pair, images),
        )
        name = stage.save(store, scores, made, options.described())
    everyone = shown if turned else requested({"identity": everyone}, made)
    recall = None if policy is None else _recall(store, shown, made, policy, batch_size, images)
    return RequestSet(shown, everyone, made, name, recall)


def _stream(options: opt.MemoryOptions, n: int) -> Stream:
    """The requests about n images; InputError for options out of range."""
    if options.stream is not None:
        if options.duplicates or options.rotations or options.order != "appended":
            raise InputError("--stream holds the requests: leave out -d, -r and --order")
        return stage.read(options.stream, n)
    if options.rotations and not options.duplicates:
        say("--rotations turns copies, and without --duplicates there are none")
    return stage.make(n, options.duplicates, options.rotations, options.order, options.seed)


def _recall(
    store: Store,
    scores: ScoreSet,
    made: Stream,
    policy: MemoryPolicy,
    batch_size: int,
    images: opt.ImageOptions,
) -> Recall:
    """What the memory answers; hashes that the cache lacks are made if they can be, and measured:
    what they cost is known only afterwards."""
    found = partial(stage.recall, store, scores, made, policy, batch_size)
    try:
        return found()
    except stage.MissingHashesError:
        if not have_images(scores.dataset, images):
            raise
        say(f"the cache lacks {policy.algorithm} hashes of {scores.split}: making them first")
        names = [policy.algorithm]
        hash_images(store, scores.dataset, [scores.split], names, images, profile=True)
        return found()


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
    pricer = None if costs is None else asked.pricer(store, pair, costs)
    row = stage.run(store, asked.scores, cascade, fit, pricer, asked.recall, {"stream": asked.name})
    return row, asked.name
