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
    images: ImageOptions,
) -> list[stage.ExtractedPartition]:
    """Run the extract stage: every model over every image."""
    check_known(dataset, images.data)
    shard, variants = shard_of(images.shard), variants_of(images)
    chosen = models_to_run(store, dataset, wanted, aliases, images)
    sources = open_sources(store, dataset, splits, images)
    engine = stage.engine(images.engine)
    with engine.ready(say):
        names = device_names(images.devices) or (images.device,)
        opened = partial(engine.open_device, precision=images.precision, engine=engine_for(images))
        devices = tuple(map(opened, names))
        options = stage.Options(
            device=devices[0],
            precision=images.precision,
            batch_size=images.batch_size,
            part_rows=images.part_rows or PART_ROWS,
            workers=images.workers,
            overwrite=images.overwrite,
            variants=variants,
            devices=devices if images.devices else (),
            shard=shard,
            engine=images.engine,
            ray_workers=images.ray_workers,
            note=say,
        )
        with progress(f"extracting {dataset}") as tell:
            return stage.run(store, sources, chosen, options, tell)
