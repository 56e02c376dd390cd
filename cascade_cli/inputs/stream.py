"""The requests that a cascade answers, and the memory in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.hashes import hash_too
from cascade_cli.inputs.scores import have_images, or_extracted
from cascade_cli.show.text import say
from stages import simulate
from stages.cascade import MemoryPolicy
from stages.hashes import hash_of
from stages.scores import ScoreSet
from stages.simulate import Recall, Stream, requested


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


def stream_of(options: opt.MemoryOptions, n: int) -> Stream:
    """The requests about n images; InputError for options out of range."""
    if options.stream is not None:
        if options.duplicates or options.rotations or options.order != "appended":
            raise InputError("--stream holds the requests: leave out -d, -r and --order")
        return simulate.read(options.stream, n)
    if options.rotations and not options.duplicates:
        say("--rotations turns copies, and without --duplicates there are none")
    return simulate.make(n, options.duplicates, options.rotations, options.order, options.seed)


def streamed(
    store: Store,
    scores: ScoreSet,
    pair: Sequence[str],
    options: opt.MemoryOptions,
    wanted: opt.LogitsOptions,
) -> tuple[ScoreSet, Stream, str | None]:
    """The scores by request, the stream, and its name in the cache, where it is kept.

    Each image once and in order is no stream worth a name.
    """
    made = stream_of(options, len(scores.labels))
    if made.used == ["identity"] and not options.repeats:
        return scores, made, None
    where, runtime = (scores.dataset, scores.split), wanted.runtime or scores.runtime
    by_request = or_extracted(
        lambda: simulate.scores(store, *where, pair, made, runtime, options.memory),
        store,
        where,
        pair,
        replace(wanted, variants=",".join(made.used)),
    )
    return by_request, made, simulate.save(store, scores, made, options.described())


def memory_recall(
    store: Store,
    scores: ScoreSet,
    made: Stream,
    policy: MemoryPolicy | None,
    batch_size: int,
    images: opt.ImageOptions,
) -> Recall | None:
    """The memory in front of the cascade; hashes that the cache lacks are made if they can be, and
    measured: what they cost is known only afterwards."""
    if policy is None:
        return None

    def found() -> Recall:
        return simulate.recall(store, scores, made, policy, batch_size)

    try:
        return found()
    except simulate.MissingHashesError:
        if not have_images(scores.dataset, images):
            raise
        say(f"the cache lacks {policy.algorithm} hashes of {scores.split}: making them first")
        turned = replace(images, variants=",".join(made.used))
        names = [policy.algorithm]
        hash_too(store, scores.dataset, [scores.split], names, turned, profile=True)
        return found()


def references_by_request(everyone: ScoreSet, shown: ScoreSet, made: Stream) -> ScoreSet:
    """All single models by request, if no request is turned; else those that the stream is of."""
    turned = made.used != ["identity"]
    return shown if turned else requested({"identity": everyone}, made)
