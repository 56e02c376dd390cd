"""scores → the requests of a stream, and what a memory in front of the cascade recalls of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import cache
from cache import InputError, Manifest, Partition, Store
from stages import missing
from stages.cascade import Cascade, MemoryPolicy, distinct
from stages.costs import Pricer
from stages.hashes import hash_keys, hash_of
from stages.scores import (
    Held,
    ScoreSet,
    in_runtime,
    load,
    model_in,
    models_of,
    partitions_of,
    prepared,
    with_nobody,
    with_references,
    without_nobody,
)
from stages.simulate.stage import FittedLimit, Recall, SimulatedCascade, run
from stages.simulate.stream import Stream, requested, save


class MissingHashesError(InputError):
    """The cache lacks the hashes that a memory looks images up by; `command` makes them."""

    def __init__(self, message: str, command: str) -> None:
        super().__init__(f"{message}: run `{command}`")
        self.command = command


@dataclass(frozen=True)
class RequestSet:
    """Requests for a cascade: its scores by request, those of all models that it may be compared
    with, the stream and its name in the cache, and what a memory recalls, if there is one."""

    scores: ScoreSet
    everyone: ScoreSet
    stream: Stream
    name: str | None
    recall: Recall | None

    @classmethod
    def of(
        cls,
        store: Store,
        scores: ScoreSet,
        cascade: Cascade,
        stream: Stream,
        policy: MemoryPolicy | None = None,
        batch_size: int = 1,
        made_by: Mapping[str, Any] | None = None,
    ) -> RequestSet:
        """About the images of `scores`. `made_by` is what was asked to make the stream, kept with
        it in the cache; None for each image once and in order, which is no stream worth a name.

        MissingError and MissingHashesError name what makes what the cache lacks.
        """
        shown, name = ready(store, scores, cascade), None
        if made_by is not None:
            hashed = None if policy is None else policy.algorithm
            where = (scores.dataset, scores.split)
            shown = by_request(store, *where, cascade, stream, scores.runtime, hashed)
            shown = with_nobody(shown, scores.nobody)
            name = save(store, scores, stream, dict(made_by))
        everyone = shown
        if stream.used == ["identity"]:
            every = with_nobody(with_references(store, scores), scores.nobody)
            everyone = requested({"identity": every}, stream)
        found = None if policy is None else recall(store, shown, stream, policy, batch_size)
        return cls(shown, everyone, stream, name, found)

    @property
    def memory(self) -> str | None:
        """The hash that a memory looks images up by."""
        return None if self.recall is None else self.recall.policy.algorithm

    def first(self, n: int) -> RequestSet:
        """The first n requests."""
        scores, everyone = (each.of_images(slice(n)) for each in (self.scores, self.everyone))
        return replace(
            self, scores=scores, everyone=everyone, recall=self.recall and self.recall.first(n)
        )

    def answered(
        self,
        store: Store,
        cascade: Cascade,
        fit: FittedLimit | None = None,
        pricer: Pricer | None = None,
        **asked: object,
    ) -> SimulatedCascade:
        """What the cascade answers and costs, also written to results/simulate; `asked` tells apart
        what else was asked for."""
        asked = {"stream": self.name, **asked}
        return run(store, self.scores, cascade, fit, pricer, self.recall, asked)


def ready(store: Store, scores: ScoreSet, cascade: Cascade) -> ScoreSet:
    """The same images with all that the cascade decides by; InputError where the cache has no
    logits that this needs."""
    fitted, averaged = cascade.coefficients, cascade.averaged
    if not fitted and not averaged:
        return scores
    made = prepared(store, without_nobody(scores), cascade.score, fitted, averaged)
    return with_nobody(made, scores.nobody)


def by_request(
    store: Store,
    dataset: str,
    split: str,
    cascade: Cascade,
    stream: Stream,
    runtime: str | None = None,
    algorithm: str | None = None,
) -> ScoreSet:
    """The scores by request. MissingError names what makes all missing variants, with the hashes
    that a memory by this algorithm lacks."""
    where, models = (dataset, split), cascade.models_that_run
    absent = _absent(store, dataset, split, models, stream, runtime)
    if absent:
        there = models_of(store, dataset, split, next(iter(absent)))
        names = [model for model in models if any(model in each for each in absent.values())]
        own = [model_in(name) for name in names]
        runtime = own[0][1] or runtime  # what another lacks is told once these are there
        names = [model for model, its in own if (its or runtime) == runtime]
        also = "" if algorithm is None else _hashes(store, where, algorithm, stream)[1]
        raise missing.missing_logits(store, where, names, there, ",".join(absent), runtime, also)
    sets = {
        variant: load(store, dataset, split, models, variant, runtime) for variant in stream.used
    }
    cache.same_images([manifest for each in sets.values() for manifest in each.manifests])
    sets = {variant: ready(store, each, cascade) for variant, each in sets.items()}
    return requested(sets, stream)


def _absent(
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str],
    stream: Stream,
    runtime: str | None,
) -> dict[str, list[str]]:
    """Variant → the models that have no logits of it, of the variants that lack any."""
    out = {}
    for variant in stream.used:
        held = models_of(store, dataset, split, variant)
        found = held if runtime is None else models_of(store, dataset, split, variant, runtime)
        out[variant] = [name for name in models if not _there(name, held, found)]
    return {variant: names for variant, names in out.items() if names}


def _there(name: str, held: Held, found: Held) -> bool:
    """Whether it has logits: a candidate in its own runtime, another in that of `found`."""
    own = in_runtime(name, held)[1]
    return bool(partitions_of(name, found if own is None else held))


def _hashes(
    store: Store, where: missing.Where, algorithm: str, stream: Stream
) -> tuple[dict[str, Manifest], str]:
    """Variant → its hashes, and the command that makes those that the cache lacks, or ""."""
    found, lack, by = {}, [], hash_of(algorithm)
    for variant in stream.used:
        dataset, split = where
        keys = {"dataset": dataset, "split": split, "variant": variant, "algorithm": algorithm}
        manifest = cache.load(store, Partition.of("hashes", **keys))
        if manifest is None or manifest.identity.get("made_by") != by.made_by:
            lack.append(variant)
        else:
            found[variant] = manifest
    words = missing.hash_words(*where, ",".join(lack), algorithm)
    return found, missing.command_line(store, words) if lack else ""


def recall(
    store: Store,
    scores: ScoreSet,
    stream: Stream,
    policy: MemoryPolicy,
    batch_size: int = 1,
) -> Recall:
    """The stream's keys by the policy's hash; InputError names the command that makes them."""
    where = (scores.dataset, scores.split)
    manifests, command = _hashes(store, where, policy.algorithm, stream)
    if command:
        lack = ", ".join(variant for variant in stream.used if variant not in manifests)
        made_by = hash_of(policy.algorithm).made_by
        version = "" if made_by is None else " of this version of {package}".format(**made_by)
        what = f"{policy.algorithm} hashes{version} of {'/'.join(where)}, {lack}"
        raise MissingHashesError(f"the cache has no {what}", command)
    cache.same_images([scores.manifests[0], *manifests.values()])
    found = [hash_keys(store, manifest) for manifest in manifests.values()]
    n = len(found[0])
    keys, places = distinct(np.concatenate(found))
    codes = np.empty(len(stream), np.int64)
    for nth, variant in enumerate(manifests):
        shown = stream.of(variant)
        codes[shown] = places[nth * n + stream.sample_ids[shown]]
    return Recall(policy, codes, keys, stream.seen_before, batch_size)
