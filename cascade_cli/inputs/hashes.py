"""The hashes of images, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from cache import PART_ROWS, CostRow, Store
from cascade_cli.inputs.dataset import open_sources, variants_of
from cascade_cli.inputs.running import engine_for
from cascade_cli.inputs.words import names_in
from cascade_cli.options.images import ImageOptions
from cascade_cli.show.text import progress, say
from stages import hashes as stage
from stages.hashes import ALL, HASHES, hash_of, rounded_name


def hash_names(algorithms: str, invariant_digits: int | None = None) -> list[str]:
    """The names of the hashes asked for; with digits, the rounded invariants for the exact ones."""
    groups = {"all": ALL, "all-available": [name for name in ALL if not HASHES[name].missing]}
    asked = names_in(algorithms) or []
    names = [name for word in asked for name in groups.get(word, [word])]
    for name in names:
        hash_of(name)
    renamed = {} if invariant_digits is None else {"invariants": rounded_name(invariant_digits)}
    return list(dict.fromkeys(renamed.get(name, name) for name in names))


def hash_images(
    store: Store,
    dataset: str,
    splits: Sequence[str],
    algorithms: Sequence[str],
    images: ImageOptions,
    profile: bool,
) -> tuple[list[stage.HashedSplit], list[CostRow]]:
    """Write the hashes of the splits' images, in `images.variants`; with `profile` also rows of
    what those cost that have no costs beside the device that models run on."""
    if not algorithms:
        return [], []
    how = (algorithms, variants_of(images), images.workers, images.part_rows or PART_ROWS)
    sources = open_sources(store, dataset, splits, images)
    rows = []
    with progress(f"hashing {dataset}") as tell:
        for source in sources:
            rows += stage.run(store, source, *how, images.overwrite, tell)
    if not profile:
        return rows, []
    if find_spec(engine_for(images)) is None:
        say("what a hash costs is measured where PyTorch is installed")
        return rows, []
    from cascade_cli.inputs.profiling import measure_hashes  # an engine, for the name of the device

    return rows, measure_hashes(store, dataset, splits[-1], algorithms, images)
