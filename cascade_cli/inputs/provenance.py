"""Whether the cache is about the images and weights that are about to run."""

from __future__ import annotations

from collections.abc import Sequence

from cache import InputError, Store
from stages.datasets import Source, fingerprint
from stages.models import Chosen, code_of, recorded, same_bytes
from stages.scores import ScoreSet, origin
from stages.threshold import made_from, unlike


def same_images(scores: ScoreSet, source: Source) -> None:
    """InputError unless the cached rows are about the images that are about to be answered."""
    cached, given = scores.manifests[0].fingerprint, fingerprint(source)
    if cached != given:
        raise InputError(
            f"the cache holds other images of {source.dataset}/{source.split} (fingerprint "
            f"{str(cached)[:12]}) than those given ({given[:12]}): check --data, or use another "
            "--cache"
        )


def same_weights(store: Store, scores: ScoreSet, dataset: str, models: Sequence[Chosen]) -> None:
    """InputError unless the cached rows come from the weights and code that are about to run, or
    from a file that was made of these."""
    for one in models:
        manifest = scores.manifests[scores.index(one.name)]
        name = manifest.partition.keys["model"]
        cached, own = made_from(store, manifest), one.weights.sha256
        if one.weights.exported is None and origin(manifest) == own:
            cached = (own, cached[1])
        facts = same_bytes(recorded(store, dataset, name), own) or {}
        architecture = facts.get("architecture", one.spec.name)
        if architecture != one.spec.name:
            raise InputError(
                f"the cache holds {name} as {architecture}, given is {one.spec.name}: say "
                f"{name}={architecture}:FILE, or choose another name"
            )
        if found := unlike(cached, (own, code_of(one.spec))):
            what, there, here = found
            raise InputError(
                f"the cache holds {name} with {what} {there}, not {here}: extract again "
                "(--overwrite), or use another --cache"
            )
