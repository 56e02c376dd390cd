"""A cascade simulated: its requests, what they cost, and what the memory in front of it recalls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.costs import pricer_or_none
from cascade_cli.inputs.hashes import hash_images
from cascade_cli.inputs.scores import have_images, or_extracted
from cascade_cli.options.common import no_share
from cascade_cli.show.text import say
from stages import simulate as stage
from stages.cascade import Cascade, MemoryPolicy
from stages.costs import Pricer
from stages.hashes import hash_of
from stages.scores import ScoreSet, allows
from stages.simulate import FittedLimit, MissingHashesError, RequestSet, SimulatedCascade, Stream


def memory_policy(options: opt.MemoryOptions, score: str | None = None) -> MemoryPolicy | None:
    """The memory's policy; InputError for options that do not go together, or with the score."""
    name, trust = options.memory, options.memory_trust
    if name is None:
        return None
    if options.memory_radius and hash_of(name).bits is None:
        raise InputError(f"{name} has no distance: leave out --memory-radius")
    if trust is not None and not allows(score or "maxp", trust):
        raise InputError(f"--memory-trust: {no_share(trust)}")
    return MemoryPolicy(name, options.memory_size, options.memory_radius, trust)


def request_set(
    store: Store,
    scores: ScoreSet,
    cascade: Cascade,
    options: opt.MemoryOptions,
    wanted: opt.LogitsOptions,
    batch_size: int,
) -> RequestSet:
    """The requests about the images of `scores`. What the cache lacks is made if it can be; hashes
    are measured too: what they cost is known only afterwards."""
    policy, stream = memory_policy(options, cascade.score), _stream(options, scores)
    images = replace(wanted, variants=",".join(stream.used))
    made_by = options.described() if options.repeats else None
    about = (store, scores, cascade, stream, policy, batch_size, made_by)
    made, where = partial(RequestSet.of, *about), (scores.dataset, scores.split)
    try:
        return or_extracted(made, store, where, cascade.models_that_run, images)
    except MissingHashesError:
        if policy is None or not have_images(scores.dataset, images):
            raise
        say(f"the cache lacks {policy.algorithm} hashes of {scores.split}: making them first")
        names = [policy.algorithm]
        hash_images(store, scores.dataset, [scores.split], names, images, profile=True)
        return made()


def _stream(options: opt.MemoryOptions, scores: ScoreSet) -> Stream:
    """The requests about these images; InputError for options out of range."""
    n = len(scores.labels)
    if options.stream is not None:
        if options.duplicates or options.rotations or options.order != "appended":
            raise InputError("--stream holds the requests: leave out -d, -r and --order")
        if scores.halves is not None:
            raise InputError("--stream asks about all of the split: leave out it or --halves")
        return stage.read(options.stream, n)
    if options.rotations and not options.duplicates:
        say("--rotations turns copies, and without --duplicates there are none")
    made = stage.make(n, options.duplicates, options.rotations, options.order, options.seed)
    return replace(made, sample_ids=scores.sample_ids[made.sample_ids])


def pricer_of_requests(
    store: Store, asked: RequestSet, models: Sequence[str], costs: opt.CostOptions
) -> Pricer | None:
    """Prices for the cascade, with those of its memory; None where no cost is known."""
    return pricer_or_none(store, asked.everyone, models, costs, asked.memory, comparing=True)


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
    batch_size = opt.CostOptions().batch_size if costs is None else costs.batch_size
    asked = request_set(store, scores, cascade, options, wanted, batch_size)
    pricer = None if costs is None else pricer_of_requests(store, asked, cascade.models, costs)
    return asked.answered(store, cascade, fit, pricer), asked.name
