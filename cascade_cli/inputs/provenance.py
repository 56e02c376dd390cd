"""Whether the cache is about the images and weights that are about to run."""

from __future__ import annotations

from collections.abc import Sequence

from cache import InputError, Store
from cascade_cli.inputs.models import choose_models
from cascade_cli.options.images import ImageOptions
from stages.datasets import Source, fingerprint
from stages.models import code_of, recorded, same_bytes
from stages.scores import ScoreSet
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


def same_weights(
    store: Store, scores: ScoreSet, dataset: str, models: Sequence[str], images: ImageOptions
) -> None:
    """InputError unless the cached rows come from the weights and code that are about to run."""
    for one in choose_models(store, dataset, models, [], images):
        facts = same_bytes(recorded(store, dataset, one.name), one.weights.sha256) or {}
        architecture = facts.get("architecture", one.spec.name)
        if architecture != one.spec.name:
            raise InputError(
                f"the cache holds {one.name} as {architecture}, given is {one.spec.name}: say "
                f"{one.name}={architecture}:FILE, or choose another name"
            )
        cached = made_from(store, scores.manifests[scores.index(one.name)])
        if found := unlike(cached, (one.weights.sha256, code_of(one.spec))):
            what, there, here = found
            raise InputError(
                f"the cache holds {one.name} with {what} {there}, not {here}: extract again "
                "(--overwrite), or use another --cache"
            )
