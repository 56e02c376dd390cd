"""What 34 ImageNet and 13 CIFAR-10 models answered, from the published files to two tables.

    git clone https://github.com/cgnorthcutt/benchmarking-keras-pytorch benchmarks
    git -C benchmarks checkout 74df938
    git clone https://github.com/cleanlab/label-errors labels
    git -C labels checkout 6d5d6b3
    python -m tools.published_outputs benchmarks labels OUTPUTS

In: per model and platform `PLATFORM_DATASET/MODEL_PLATFORM_DATASET_top5preds.npy` and `…probs.npy`,
the five most probable classes in no order and their probabilities [N, 5] (MIT); the labels in
`original_test_labels` (Apache-2.0), in the same order of images. Out: `imagenet_top2.parquet` and
`cifar10_top2.parquet` in OUTPUTS: `sample_id`, `label`, and for each model M `M.class_1`, `M.p_1`,
`M.class_2`, `M.p_2`; then `make study`. A commit vouches for its files; the digest of each table's
columns is compared with that of the table which the study was made from.

Not tried: the published files themselves, as no network was at hand; the layout is that of the
scripts beside them, which read and write them. Of equal probabilities the first stays first, as
there; where another rule made the study's table (7 rows of resnet152 tie), the digests differ.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache import InputError

LABELS = {"imagenet": "imagenet_val_set", "cifar10": "cifar10_test_set"}
DIGESTS = {
    "imagenet": "0dff753f39f6d13250e2c5210903da550e41bc7ac7beae496d9fd7f7a2c22817",
    "cifar10": "a8266f7d81b7c9491cc4f58edbe6b8656202f1514b28133b06024b700c34e5fb",
}
_SUFFIX = "_top5preds.npy"


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("benchmarks", "labels", "outputs"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args(words)
    try:
        for dataset, known in DIGESTS.items():
            table = top_two(given.benchmarks, given.labels, dataset)
            given.outputs.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, given.outputs / f"{dataset}_top2.parquet", compression="zstd")
            same = "as the study's" if digest(table) == known else "not that of the study"
            print(f"{dataset}: {table.num_rows} images, sha256 {digest(table)} ({same})")
    except InputError as error:
        print(f"published_outputs: {error}", file=sys.stderr)
        return 2
    return 0


def top_two(benchmarks: Path, labels: Path, dataset: str) -> pa.Table:
    """InputError where a file lacks, or holds another number of images than the labels."""
    truth = _read(labels / "original_test_labels" / f"{LABELS[dataset]}_original_labels.npy")
    columns = {"sample_id": np.arange(len(truth), dtype=np.int32), "label": truth.astype(np.int16)}
    for model, path in _models(benchmarks, dataset):
        classes = _read(path)
        probabilities = _read(path.with_name(path.name.replace("preds", "probs")))
        if not len(classes) == len(probabilities) == len(truth):
            raise InputError(f"{path} does not hold the {len(truth)} images of the labels")
        first = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        for name, values, kind in (("class", classes, np.int16), ("p", probabilities, np.float32)):
            best = np.take_along_axis(values, first, axis=1).astype(kind)
            columns |= {f"{model}.{name}_{place}": best[:, place - 1] for place in (1, 2)}
    return pa.table(columns)


def _models(benchmarks: Path, dataset: str) -> Iterator[tuple[str, Path]]:
    """(name, file of its classes); where both platforms are there the name says which."""
    folders = sorted(benchmarks.glob(f"*_{dataset}"))
    for folder in folders:
        suffix = f"_{folder.name}{_SUFFIX}"
        for path in sorted(folder.glob(f"*{suffix}")):
            platform = folder.name.removesuffix(f"_{dataset}")
            yield path.name.removesuffix(suffix) + f"_{platform}" * (len(folders) > 1), path
    if not folders:
        raise InputError(f"{benchmarks} has no folder PLATFORM_{dataset}: clone the benchmarks")


def _read(path: Path) -> np.ndarray:
    try:
        return np.load(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def digest(table: pa.Table) -> str:
    """SHA-256 of the columns by name, whatever their order and the file's compression."""
    found = hashlib.sha256()
    for name in sorted(table.column_names):
        found.update(name.encode())
        found.update(table.column(name).to_numpy().tobytes())
    return found.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
