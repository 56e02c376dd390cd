"""How close extraction comes to its floor: max(decoding alone, Σ bare forward) ÷ wall of run().

    python -m benchmarks.extract

Two cases on real CIFAR-10 JPEGs where ../shared has them, on synthetic ones elsewhere: compute-
bound (four CIFAR models, seeded weights) and decode-bound (one tiny model). Weights do not change
the time. Each figure is the best of three, taken in turn.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from cache import Store
from stages import extract
from stages.datasets import Source, open_split
from stages.inference import Runner, open_device, synchroniser
from stages.models import Chosen, ModelSpec, Weights, get, instantiate, load
from stages.prefetch import default_workers, prefetch

SHARED = Path(__file__).parents[2] / "shared" / "data" / "cifar10"
COMPUTE = ("resnet20", "resnet32", "shufflenetv2_x0_5", "vgg11_bn")
ROUNDS = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        images = folder if not SHARED.exists() else str(SHARED)
        if not SHARED.exists():
            write_synthetic(Path(folder, "test.parquet"), 5_000)
        splits = ["test", "val", "train"] if SHARED.exists() else ["test"]
        sources = [open_split("cifar10", split, images) for split in splits]
        for case, specs, some in cases(sources):
            print(line(measure(case, specs, some, Path(folder), open_device("cpu"))))


def cases(sources: Sequence[Source]) -> list[tuple[str, list[ModelSpec], Sequence[Source]]]:
    """Name, models and splits of each case; the one that computes much needs one split only."""
    tiny = get("digits_wide")
    tiny = replace(tiny, preprocessing=replace(tiny.preprocessing, resize=(8, 8)))
    specs = [get(name, "cifar10") for name in COMPUTE]
    return [("compute-bound", specs, sources[:1]), ("decode-bound", [tiny], sources)]


def measure(
    case: str,
    specs: Sequence[ModelSpec],
    sources: Sequence[Source],
    root: Path,
    device: torch.device,
) -> dict[str, Any]:
    """The best seconds of ROUNDS for each part, and their ratio."""
    chosen = [seeded(spec, root) for spec in specs]
    options = extract.Options(device)
    times = np.array(
        [
            [decode_alone(specs, sources, options), bare_forward(chosen, sources, options), wall]
            for wall in (run_once(chosen, sources, options, root, i) for i in range(ROUNDS))
        ]
    )
    decode, forward, wall = times.min(axis=0).tolist()
    return {
        "case": case,
        "models": len(specs),
        "images": sum(map(len, sources)),
        "decode_s": decode,
        "forward_s": forward,
        "wall_s": wall,
        "efficiency": max(decode, forward) / wall,
    }


def line(found: dict[str, Any]) -> str:
    return (
        "{case}: {models} models, {images} images: decode alone {decode_s:.2f} s, bare forward "
        "{forward_s:.2f} s, run() {wall_s:.2f} s: efficiency {efficiency:.2f}"
    ).format(**found)


def seeded(spec: ModelSpec, root: Path) -> Chosen:
    """A model with random weights from a fixed seed, saved so that run() loads it like any."""
    torch.manual_seed(0)
    path = root / f"{spec.name}.pt"
    torch.save(instantiate(spec).state_dict(), path)
    return Chosen(spec.name, spec, Weights(path, "0" * 64, "file", (), "stated"))


def run_once(
    chosen: Sequence[Chosen],
    sources: Sequence[Source],
    options: extract.Options,
    root: Path,
    i: int,
) -> float:
    begun = time.perf_counter()
    extract.run(Store(root / f"cache-{chosen[0].name}-{i}"), sources, chosen, options)
    return time.perf_counter() - begun


def decode_alone(
    specs: Sequence[ModelSpec], sources: Sequence[Source], options: extract.Options
) -> float:
    groups = {spec.preprocessing for spec in specs}
    begun = time.perf_counter()
    for source in sources:

        def decode(start: int, source: Source = source) -> list[np.ndarray]:
            stop = min(start + options.batch, len(source))
            pictures = [source.read(i) for i in range(start, stop)]
            return [np.stack([group.pixels(p) for p in pictures]) for group in groups]

        for _ in prefetch(decode, range(0, len(source), options.batch), default_workers()):
            pass
    return time.perf_counter() - begun


def bare_forward(
    chosen: Sequence[Chosen], sources: Sequence[Source], options: extract.Options
) -> float:
    """Ready batches of the right sizes, on the device, straight into each model."""
    total = 0.0
    sync = synchroniser(options.device)
    sizes = [
        min(options.batch, len(source) - start)
        for source in sources
        for start in range(0, len(source), options.batch)
    ]
    for one in chosen:
        module = load(one.spec, one.weights)
        runner = Runner.of(module, one.spec.preprocessing, options.device)
        shape = one.spec.preprocessing.pixels(sources[0].read(0)).shape
        ready = {
            size: runner.upload(np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8))
            for size in set(sizes)
        }
        for batch in ready.values():
            runner.logits(batch)
        sync()
        begun = time.perf_counter()
        for size in sizes:
            runner.logits(ready[size])
        sync()
        total += time.perf_counter() - begun
    return total


def write_synthetic(path: Path, n: int, different: int = 5_000) -> None:
    """Smooth random 32 × 32 JPEGs in the Hugging Face layout; so many `different`, repeated."""
    from PIL import Image

    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(min(n, different)):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        buffer = BytesIO()
        small.resize((32, 32)).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    rows = [
        {"img": {"bytes": encoded[i % different], "path": f"{i}.jpg"}, "label": i % 10}
        for i in range(n)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


if __name__ == "__main__":
    main()
