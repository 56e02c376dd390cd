"""`extract`: every model run once over every image."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cache import Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_of_first, extract_splits, variants_of
from cascade_cli.inputs.hashes import hash_images, hash_names
from cascade_cli.inputs.models import weights_files
from cascade_cli.inputs.running import check_calibration, in_runtimes
from cascade_cli.inputs.scores import changes_from_fp32
from cascade_cli.inputs.words import device_names, names_in, shard_of
from cascade_cli.show.logits import HASH_COLUMNS, show_changes, show_logits
from cascade_cli.show.text import print_json, print_table, say
from stages import extract as stage
from stages.runtimes import require_engine


@dataclass(frozen=True)
class ExtractOptions(opt.ImageOptions):
    """Which models run over the images, and how many images at once."""

    models: str = opt.option(
        "", "Names or references separated by commas, `all`, or `all-available`."
    )
    model: list[str] | None = opt.option(
        None, "A model of your own, NAME=ARCHITECTURE:FILE, NAME=file:PATH.pt2 …"
    )
    batch_size: int | None = opt.option(
        None,
        "Images per forward pass. [default: 256 on a GPU, on a CPU 64, and 16 of 224×224]",
        min=1,
        max=opt.MOST,
    )


@opt.grouped(
    "dataset data split models model model_1 model_2 weights_1 weights_2 weights preprocess "
    "batch_size device devices shard engine ray_workers decoder unlabelled unreadable precision "
    "runtime calibrate_on workers part_rows download overwrite variants hashes profile cache "
    "as_json"
)
def extract(
    pair: opt.PairOptions,
    images: ExtractOptions,
    common: opt.CommonOptions,
    hashes: str | None = opt.option(None, "Hash the images too, as `cascade hash --algorithms`."),
    profile: bool = opt.option(True, "Measure latency and joules where the cache has none yet."),
) -> None:
    """Run every model once over every image; write samples, logits, timings and costs.

    \b
    cascade extract -d cifar10 -f data --split test --models resnet20,resnet56 --weights weights
    """
    runs = in_runtimes(replace(images, files=weights_files(pair)))
    images = runs[0]
    aliases = images.model or []
    wanted = [name for name in (pair.model_1, pair.model_2) if name]
    wanted += names_in(images.models or None) or []
    dataset = dataset_of_first(images.dataset, wanted, aliases)
    wanted = wanted or ([] if aliases else ["all-available"])
    variants_of(images)  # before anything is fetched or run
    device_names(images.devices)
    algorithms = hash_names(hashes) if hashes is not None else []
    begun, store = time.monotonic(), Store(common.cache)
    splits = extract_splits(dataset, images, images.split)
    check_calibration(runs, splits, dataset)
    if images.unlabelled:
        say(f"{', '.join(splits)}: labels that the images may have are left out (--unlabelled)")
    for each in runs:
        require_engine(each.runtime)
    from cascade_cli.inputs.extraction import run_extraction  # an engine, which may not be there

    rows = run_extraction(store, dataset, splits, wanted, aliases, runs)
    seconds = time.monotonic() - begun
    if shard_of(images.shard)[0] > 0:  # what is done once for all shards, the first one does
        profile, algorithms = False, []
    if profile:
        from cascade_cli.inputs.profiling import profile_new  # likewise

        for each in runs:
            profile_new(store, dataset, wanted, aliases, each)
    changes = changes_from_fp32(store, dataset, rows)
    hashed, _ = hash_images(store, dataset, splits, algorithms, images, profile)
    if common.as_json:
        report: dict[str, Any] = {
            "dataset": dataset,
            "models": [vars(row) | {"seconds": seconds} for row in rows],
        }
        report |= {"hashes": hashed} if algorithms else {}
        print_json(report | ({"changes": [vars(each) for each in changes]} if changes else {}))
        return
    show_logits(rows)
    show_changes(changes)
    if hashed:
        print_table(hashed, HASH_COLUMNS)
    print(f"{dataset}: {len(rows)} partitions in {store.root}, {seconds:.1f} s")
    _show_next(rows, dataset, common.cache)


def _show_next(rows: Sequence[stage.ExtractedPartition], dataset: str, cache: str | None) -> None:
    """What is still to come, or what to do with what is there."""
    waiting = sum(not row.complete for row in rows)
    if waiting:
        print(f"{waiting} of them wait for the parts of other shards")
    elif len({row.model for row in rows}) > 1:
        where = "" if cache is None else f" --cache {shlex.quote(cache)}"
        if all(row.accuracy is None for row in rows):
            split = f"--unlabelled {shlex.quote(rows[0].split)}"
            print(f"next: `cascade certify 0.02,0.1 -d {dataset} {split}{where}` needs few labels")
            return
        print(f"next: `cascade search -d {dataset}{where}` tells which cascade to deploy")
