"""`hash`: the keys that a memory recognises images by, and how much they put up with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.dataset import dataset_for, extract_splits, open_sources, variants_of
from cascade_cli.inputs.hashes import hash_images, hash_names
from cascade_cli.inputs.words import whole_numbers
from cascade_cli.show.files import check_table, write_rows
from cascade_cli.show.logits import HASH_COLUMNS
from cascade_cli.show.text import print_json, print_table, progress
from stages import hashes as stage, report

ROBUSTNESS = {
    "algorithm": "hash",
    "radius": "radius",
    "kind": "change",
    "perturbation": "by",
    "n": "images",
    "recall": "finds itself:.1%",
    "false_hit_rate": "finds another:.1%",
}


@dataclass(frozen=True)
class RobustnessOptions:
    """Which changes of how many images, at which distances."""

    robustness: bool = opt.option(False, "Instead: which changes of an image each hash survives.")
    limit: int = opt.option(1000, "Images for --robustness.", "-n", min=1, max=opt.MOST)
    radius: str = opt.option("0", "Hamming distances for --robustness, separated by commas.")
    seed: int = opt.option(0, "Of the noise for --robustness.", min=0)
    figures: str | None = opt.option(None, "Folder for --robustness as PNG and SVG.")


@opt.grouped(
    "dataset data split algorithms variants invariant_digits robust workers part_rows overwrite "
    "profile device output for_spreadsheets cache as_json",
    workers="Threads. [default: one per core]",
    overwrite="Replace hashes made from something else.",
)
def hash(
    images: opt.ImageOptions,
    robust: RobustnessOptions,
    common: opt.CommonOptions,
    algorithms: str = opt.option(
        "all-available",
        f"{', '.join(stage.ALL)}, separated by commas, `all`, or `all-available` (whose packages "
        "are installed).",
    ),
    invariant_digits: int | None = opt.option(
        None, "Round the invariants to so many digits: the hash `invariants-N`."
    ),
    profile: bool = opt.option(True, "Measure what a hash costs where the cache does not know."),
) -> None:
    """Hash every image, turned as asked; write the keys, and what a hash costs.

    \b
    cascade hash -d digits --algorithms dhash,invariants --variants identity,rot90
    cascade hash -d digits --robustness --figures figures
    """
    check_table(common)
    columns = ROBUSTNESS if robust.robustness else HASH_COLUMNS
    if robust.figures is not None and not robust.robustness:
        raise InputError("--figures draws the robustness of hashes: give --robustness too")
    variants_of(images)  # before anything is fetched or run
    dataset, store = dataset_for(images.dataset), Store(common.cache)
    names = hash_names(algorithms, invariant_digits)
    splits = extract_splits(dataset, images, images.split)
    rows: Sequence[stage.HashRecall | stage.HashedSplit]
    if robust.robustness:
        recalls = _robustness(store, dataset, splits[-1], names, robust, images)
        files = _draw(recalls, robust.figures)
        rows, report = recalls, {"split": splits[-1], "rows": recalls, "figures": files}
    else:
        rows, costs = hash_images(store, dataset, splits, names, images, profile)
        report = {"hashes": rows, "costs": [vars(row) for row in costs]}
    write_rows(rows, common)
    if common.as_json:
        print_json({"dataset": dataset} | report)
        return
    print_table(rows, columns)
    for file in report.get("figures", ()):
        print(f"wrote {file}")


def _robustness(
    store: Store,
    dataset: str,
    split: str,
    algorithms: Sequence[str],
    options: RobustnessOptions,
    images: opt.ImageOptions,
) -> list[stage.HashRecall]:
    limit, radii, seed = options.limit, whole_numbers(options.radius, "radius", 0, 64), options.seed
    [source] = open_sources(store, dataset, [split], images)
    with progress("changing images") as tell:
        return stage.recall_under_changes(
            source, algorithms, limit, radii, seed, images.workers, tell
        )


def _draw(rows: Sequence[stage.HashRecall], folder: str | None) -> list[str]:
    """The files written, none without a folder."""
    if folder is None:
        return []
    drawn = report.robustness_figures(rows)
    return [str(file) for file in report.save_figures(drawn, folder)]
