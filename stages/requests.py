"""What a stream of requests needs from the cache: the scores and the hashes of its variants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import cache
from cache import InputError, Manifest, Partition, Store
from stages import commands
from stages.hash import keys_of
from stages.memory import Policy, distinct
from stages.score import ScoreSet, load
from stages.simulate import Recall
from stages.stream import Stream, requested


class MissingHashesError(InputError):
    """The cache lacks the hashes that a memory looks images up by; `command` makes them."""

    def __init__(self, message: str, command: str) -> None:
        super().__init__(f"{message}: run `{command}`")
        self.command = command


def scores(
    store: Store,
    dataset: str,
    split: str,
    models: Sequence[str],
    stream: Stream,
    runtime: str | None = None,
) -> ScoreSet:
    """The scores by request. MissingError names the command that adds a missing variant."""
    sets = {
        variant: load(store, dataset, split, models, variant, runtime) for variant in stream.used
    }
    cache.same_images([manifest for each in sets.values() for manifest in each.manifests])
    return requested(sets, stream)


def recall(
    store: Store,
    scores: ScoreSet,
    stream: Stream,
    policy: Policy,
    batch_size: int = 1,
) -> Recall:
    """The stream's keys by the policy's hash; InputError names the command that makes them."""
    found = {variant: _hashes(store, scores, policy.algorithm, variant) for variant in stream.used}
    cache.same_images([scores.manifests[0], *(manifest for manifest, _ in found.values())])
    n = len(next(iter(found.values()))[1])
    keys, places = distinct(np.concatenate([each for _, each in found.values()]))
    codes = np.empty(len(stream), np.int64)
    for nth, variant in enumerate(found):
        where = stream.of(variant)
        codes[where] = places[nth * n + stream.sample_ids[where]]
    return Recall(policy, codes, keys, stream.seen_before, batch_size)


def _hashes(
    store: Store, scores: ScoreSet, algorithm: str, variant: str
) -> tuple[Manifest, np.ndarray]:
    """uint8 [N, L], by sample id."""
    keys = {"dataset": scores.dataset, "split": scores.split, "variant": variant}
    manifest = cache.load(store, Partition.of("hashes", algorithm=algorithm, **keys))
    if manifest is None:
        words = commands.hashes(scores.dataset, scores.split, variant, algorithm)
        raise MissingHashesError(
            f"the cache has no {algorithm} hashes of {scores.dataset}/{scores.split}, {variant}",
            commands.line(store, words),
        )
    return manifest, keys_of(store, manifest)
