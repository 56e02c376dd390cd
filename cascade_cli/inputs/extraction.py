"""Models run over images, which needs their engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from cache import PART_ROWS, Store
from cascade_cli.inputs.dataset import open_sources, variants_of
from cascade_cli.inputs.running import engine_for, models_to_run
from cascade_cli.inputs.words import device_names, shard_of
from cascade_cli.options.images import ImageOptions
from cascade_cli.show.text import progress, say
from stages import extract as stage
from stages.datasets import check_known


def run_extraction(
    store: Store,
    dataset: str,
    splits: Sequence[str],
    wanted: Sequence[str],
    aliases: Sequence[str],
    runs: Sequence[ImageOptions],
) -> list[stage.ExtractedPartition]:
    """Run the extract stage: every model over every image, in the runtime of each of `runs`."""
    first = runs[0]
    check_known(dataset, first.data)
    shard_of(first.shard), variants_of(first)  # before anything is exported
    chosen = [models_to_run(store, dataset, wanted, aliases, images) for images in runs]
    sources = open_sources(store, dataset, splits, first)
    engine = stage.engine(first.engine)
    with engine.ready(say):
        options = [_options(engine, images) for images in runs]
        with progress(f"extracting {dataset}") as tell:
            return stage.run_all(store, sources, list(zip(chosen, options, strict=True)), tell)


def _options(engine: stage.Engine, images: ImageOptions) -> stage.Options:
    names = device_names(images.devices) or (images.device,)
    opened = partial(engine.open_device, precision=images.precision, engine=engine_for(images))
    devices = tuple(map(opened, names))
    return stage.Options(
        device=devices[0],
        precision=images.precision,
        batch_size=images.batch_size,
        part_rows=images.part_rows or PART_ROWS,
        workers=images.workers,
        overwrite=images.overwrite,
        variants=variants_of(images),
        devices=devices if images.devices else (),
        shard=shard_of(images.shard),
        engine=images.engine,
        ray_workers=images.ray_workers,
        note=say,
    )
