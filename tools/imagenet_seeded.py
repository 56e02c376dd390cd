"""Run every ImageNet model on real images with seeded weights, through `cascade extract`.

Output: a table of the models, and exit code 1 if a model lacks a finite row of 1,000 logits for an
image, or the same row for two images. Weights (1.8 GB) and cache lie in a temporary folder.

    python -m tools.imagenet_seeded IMAGES --limit 25

Result (25 images, 2 CPU cores with five times as much other work): 40 of 40 models in 8 geometries,
8 minutes of processor time, the writing of the weights included.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import cache
from cache import Partition, Store, iter_logits
from cascade_cli.show.text import print_table, say
from stages.datasets import Source, open_split
from stages.models import ModelSpec, get, specs
from stages.runtimes import View
from tools.seed_weights import write

DATASET, SPLIT = "imagenet", "val"
COLUMNS = {
    "model": "model",
    "geometry": "geometry",
    "rows": "rows",
    "images_per_second": "images/s:.1f",
    "spread": "spread:.2f",
    "fault": "fault",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", help=f"folder with the split {SPLIT}")
    parser.add_argument("--limit", type=int, default=25, help="images; 0 is all")
    parser.add_argument("--models", help="names separated by commas; all 40 by default")
    given = parser.parse_args()
    wanted = [get(name, DATASET) for name in given.models.split(",")] if given.models else specs()
    wanted = [spec for spec in wanted if spec.dataset == DATASET]
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(run(wanted, given.images, given.limit, Path(folder)))


def run(wanted: Sequence[ModelSpec], images: str, limit: int, folder: Path) -> int:
    """The exit code: 0 if every model is as it should be."""
    if limit:
        images = str(sliced(open_split(DATASET, SPLIT, images), limit, folder / "images"))
    n = len(open_split(DATASET, SPLIT, images))
    begun = time.monotonic()
    weights = folder / "weights"
    weights.mkdir()
    for i, spec in enumerate(wanted, 1):
        write(spec, weights)
        say(f"weights: {i} of {len(wanted)}, {spec.name}")
    seeded = time.monotonic() - begun
    made = extracted(wanted, images, weights, folder / "cache")
    groups = list(dict.fromkeys(map(geometry, wanted)))
    rows = [
        {"model": spec.name, "geometry": groups.index(geometry(spec)) + 1}
        | made.get(spec.name, {})
        | checked(Store(folder / "cache"), spec, made.get(spec.name), n)
        for spec in wanted
    ]
    print_table(rows, COLUMNS)
    right = sum(row["fault"] is None for row in rows)
    print(
        f"{right} of {len(rows)} models in {len(groups)} geometries on {n} images: weights "
        f"{seeded:.0f} s, all {time.monotonic() - begun:.0f} s"
    )
    return int(right < len(rows))


def geometry(spec: ModelSpec) -> View:
    return View("identity", spec.preprocessing).geometry


def sliced(source: Source, limit: int, folder: Path) -> Path:
    """At most `limit` pictures, evenly over the split, as they are: PNG in Parquet."""
    chosen = np.linspace(0, len(source) - 1, min(limit, len(source))).astype(int)
    folder.mkdir()
    pictures = [{"bytes": png(source.read(i)), "path": source.keys[i]} for i in chosen.tolist()]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(pictures, kind), "label": source.labels[chosen]})
    pq.write_table(table, folder / f"{SPLIT}.parquet")
    return folder


def png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "png", compress_level=1)
    return stream.getvalue()


def extracted(
    wanted: Sequence[ModelSpec], images: str, weights: Path, root: Path
) -> dict[str, dict[str, Any]]:
    """The rows that `cascade extract --json` prints, by model."""
    command = [sys.executable, "-m", "cascade_cli.main", "extract", "-d", DATASET, "-f", images]
    command += ["--split", SPLIT, "--models", ",".join(spec.name for spec in wanted)]
    command += ["--weights", str(weights), "--cache", str(root), "--no-profile", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {row["model"]: row for row in json.loads(done.stdout)["models"]}


def checked(store: Store, spec: ModelSpec, row: dict[str, Any] | None, n: int) -> dict[str, Any]:
    """How far the logits of a class spread over the images, and what is wrong, if anything is."""
    if row is None:
        return {"spread": None, "fault": "not extracted"}
    keys = {"split": SPLIT, "variant": "identity", "runtime": row["runtime"], "model": spec.name}
    manifest = cache.load(store, Partition.of("logits", dataset=DATASET, **keys))
    if manifest is None:
        return {"spread": None, "fault": "no complete partition"}
    ids, parts = zip(*iter_logits(store, manifest), strict=True)
    logits = np.concatenate(parts)
    faults = {
        f"{logits.shape} logits": logits.shape != (n, 1000) or row["rows"] != n,
        "other samples": np.concatenate(ids).tolist() != list(range(n)),
        "not finite": not np.isfinite(logits).all(),
        "the same for two images": len(np.unique(logits, axis=0)) < len(logits),
    }
    found = [fault for fault, there in faults.items() if there]
    return {"spread": float(logits.std(axis=0).mean()), "fault": ", ".join(found) or None}


if __name__ == "__main__":
    main()
