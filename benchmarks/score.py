"""Scoring logits, against the exponentials it cannot do without.

    python -m benchmarks.score

50,000 × 1,000 float32 logits, 20,000 × 100 and 200,000 × 10. The floor is numpy's float64 exp of
the same numbers in chunks that stay in the processor's cache, the cast from float32 included; naive
numpy takes the exponential of the whole array at once. Then the `score` stage over a partition on
disk: its peak memory, in processes of their own, must not follow the number of images. On a busy
AMD EPYC server, 3 runs: 50,000 × 1,000 at 2.0 to 2.1× the floor, naive 9 to 10×; 302 and 289 MiB
for 20,000 and 80,000 images, twice.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.peak import peak_mib
from cache import (
    PART_ROWS,
    Partition,
    PartitionWriter,
    Store,
    load,
    logits_schema,
    samples_table,
    write_partition,
)
from stages.scores import scores_of
from stages.scores.table import score_table

CHUNK = 1 << 15
CLASSES = 1000
SIZES = ((50_000, 1000), (20_000, 100), (200_000, 10))
SAMPLES_OF = {"dataset": "synthetic", "split": "val"}
LOGITS_OF = SAMPLES_OF | {"variant": "identity", "runtime": "synthetic", "model": "m"}


def main(words: list[str]) -> int:
    if words:  # a child: its peak is reported
        store = Store(words[0])
        score_table(store, load(store, Partition.of("logits", **LOGITS_OF)))
        print(peak_mib())
        return 0
    for images, classes in SIZES:
        compare(images, classes)
    peaks = {images: peak_of(images) for images in (20_000, 80_000)}
    told = ", ".join(f"{peak:.0f} MiB for {images}" for images, peak in peaks.items())
    print(f"peak memory of scoring images of {CLASSES} classes from disk: {told}")
    return 0


def compare(images: int, classes: int) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (images, classes)).astype(np.float32)
    rounds = 3
    ours, floor, naive = (
        min(seconds(lambda: call(logits)) for _ in range(rounds))  # noqa: B023
        for call in (scores_of, floor_of, naive_of)
    )
    print(
        f"{images} × {classes}: {ours:.2f} s, {ours / floor:.2f}× chunked exp ({floor:.2f} s); "
        f"naive {naive / floor:.1f}×"
    )


def floor_of(logits: np.ndarray) -> None:
    flat = logits.reshape(-1)
    wide = np.empty(CHUNK)
    for start in range(0, len(flat), CHUNK):
        piece = flat[start : start + CHUNK]
        x = wide[: len(piece)]
        x[:] = piece
        np.exp(x, out=x)


def naive_of(logits: np.ndarray) -> None:
    """As one writes it: whole arrays."""
    e = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    logits.argmax(axis=1)
    top = np.partition(p, -2, axis=1)[:, -2:]
    _ = top[:, 1], top[:, 1] - top[:, 0]
    -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1) / np.log(p.shape[1])


def peak_of(images: int) -> float:
    with tempfile.TemporaryDirectory() as root:
        fill(Store(Path(root)), images)
        command = [sys.executable, "-m", "benchmarks.score", root]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def fill(store: Store, images: int) -> None:
    ids, labels = np.arange(images), np.zeros(images, np.int32)
    identity = {"dataset_fingerprint": "synthetic"}
    table = samples_table(ids, labels, ids.astype(str))
    write_partition(store, Partition.of("samples", **SAMPLES_OF), table, identity, {})
    schema, rng = logits_schema(CLASSES), np.random.default_rng(0)
    writer = PartitionWriter(store, Partition.of("logits", **LOGITS_OF), schema, identity, {})
    starts = range(0, images, PART_ROWS)
    for part, start in enumerate(starts):
        here = ids[start : start + PART_ROWS]
        flat = pa.array(rng.standard_normal(len(here) * CLASSES, np.float32))
        column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("logits").type)
        writer.write(part, pa.table([here, column], schema=schema))
    writer.finish(len(starts))


def seconds(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
