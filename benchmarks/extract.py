"""How close extraction comes to its floor: max(decoding alone, Σ bare forward) ÷ wall of run().

    python -m benchmarks.extract

Compute-bound and decode-bound cases on real ImageNet and CIFAR-10 JPEGs where ../shared has them,
on synthetic ones elsewhere; then one pass with four models against four passes with one, and the
peak memory of 10,000 images against 40,000. Weights are random: they do not change the time. Each
time is the best of three, taken in turn.

On two shared cores of an AMD EPYC server, with nothing beside it: CIFAR-10 0.93 compute-bound and
1.09 decode-bound, ImageNet 0.92 and 0.90; one pass 1.15 and 1.12 times as fast as a pass for each
model; the same peak memory. Other work on the cores lowers every one of these.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from stages.models import Chosen, ModelSpec, Weights, get, instantiate, load
from stages.parallel import default_workers, prefetch
from stages.runtimes import Runner, View, open_device, synchroniser

SHARED = Path(__file__).parents[2] / "shared" / "data"
CIFAR_MODELS = ("resnet20", "resnet32", "shufflenetv2_x0_5", "vgg11_bn")
IMAGENET_MODELS = ("resnet18", "resnet50", "regnet_y_1_6gf", "densenet121")
ROUNDS = 3
# How often the decode-bound cases have each image: CIFAR-10's real 60,000, and so few of ImageNet
# that they would else measure what any run costs, however long.
REPEAT = {"cifar10": 4, "imagenet": 16}
FEW, MANY = 10_000, 40_000


@dataclass(frozen=True)
class Case:
    """Models on a dataset; `name` says which of the two floors should be the higher one."""

    name: str
    specs: Sequence[ModelSpec]
    sources: Sequence[Source]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        every = []
        for dataset, of in (("cifar10", cases), ("imagenet", imagenet_cases)):
            few, many = (of(open_images(root, dataset, repeat)) for repeat in (1, REPEAT[dataset]))
            every += [few[0], many[1]]
        for case in every:
            print(line(measure(case, root, open_device("cpu"))), flush=True)
        for case in every[::2]:
            print(passes_line(passes(case, root, open_device("cpu"))), flush=True)
        print(memory_line(root))


def open_images(root: Path, dataset: str, repeat: int = 1) -> list[Source]:
    """The real images where they are there, `repeat` times, else synthetic ones under `root`."""
    folder = SHARED / {"cifar10": "cifar10", "imagenet": "imagenet-sample"}[dataset]
    repeated = root / f"{dataset}-{repeat}"
    splits = [
        path.stem for path in sorted(folder.glob("*.parquet"), key=lambda p: p.stem != "test")
    ]
    if splits and repeat > 1:
        for split in splits:
            table = pa.concat_tables([pq.read_table(folder / f"{split}.parquet")] * repeat)
            repeated.mkdir(exist_ok=True)
            pq.write_table(table, repeated / f"{split}.parquet", row_group_size=1_000)
        folder = repeated
    if not splits:
        folder, splits = repeated, ["test"]
        size, n = {"cifar10": (32, 5_000), "imagenet": (400, 250)}[dataset]
        write_synthetic(folder / "test.parquet", n * repeat, different=n, size=size)
    return [open_split(dataset, split, str(folder)) for split in splits]


def cases(sources: Sequence[Source]) -> list[Case]:
    """On CIFAR-10; the case that computes much needs one split only."""
    return [
        Case("compute-bound", [get(name, "cifar10") for name in CIFAR_MODELS], sources[:1]),
        Case("decode-bound", [tiny((8, 8), None, 10)], sources),
    ]


def imagenet_cases(sources: Sequence[Source]) -> list[Case]:
    return [
        Case("compute-bound", [get(name, "imagenet") for name in IMAGENET_MODELS], sources),
        Case("decode-bound", [tiny(256, (8, 8), 1_000)], sources),
    ]


def tiny(resize: int | tuple[int, int], crop: tuple[int, int] | None, classes: int) -> ModelSpec:
    """The smallest of the digits' models behind another preprocessing and with more classes."""
    spec = get("digits_wide")
    return replace(
        spec, preprocessing=replace(spec.preprocessing, resize=resize, crop=crop), classes=classes
    )


def measure(case: Case, root: Path, device: torch.device) -> dict[str, Any]:
    """The best seconds of ROUNDS for each part, and their ratio."""
    chosen = [seeded(spec, root) for spec in case.specs]
    options = extract.Options(device)
    rounds = [
        [
            decode_alone(case, options),
            bare_forward(chosen, case.sources, options),
            run_once(chosen, case.sources, options, root),
        ]
        for _ in range(ROUNDS)
    ]
    decode, forward, wall = np.array(rounds).min(axis=0).tolist()
    return {
        "case": case.name,
        "dataset": case.sources[0].dataset,
        "models": len(case.specs),
        "images": sum(map(len, case.sources)),
        "decode_s": decode,
        "forward_s": forward,
        "wall_s": wall,
        "efficiency": max(decode, forward) / wall,
    }


def line(found: dict[str, Any]) -> str:
    return (
        "{dataset}, {case}: {models} models, {images} images: decode alone {decode_s:.2f} s, bare "
        "forward {forward_s:.2f} s, run() {wall_s:.2f} s: efficiency {efficiency:.2f}"
    ).format(**found)


def passes(case: Case, root: Path, device: torch.device) -> dict[str, Any]:
    """The best seconds of ROUNDS: all models in one pass, and in a pass each."""
    chosen = [seeded(spec, root) for spec in case.specs]
    options = extract.Options(device)
    rounds = [
        (
            run_once(chosen, case.sources, options, root),
            sum(run_once([one], case.sources, options, root) for one in chosen),
        )
        for _ in range(ROUNDS)
    ]
    one, many = np.array(rounds).min(axis=0).tolist()
    return {
        "dataset": case.sources[0].dataset,
        "models": len(case.specs),
        "one_pass_s": one,
        "a_pass_each_s": many,
        "ratio": many / one,
    }


def passes_line(found: dict[str, Any]) -> str:
    return (
        "{dataset}: {models} models in one pass {one_pass_s:.2f} s, in a pass each "
        "{a_pass_each_s:.2f} s: ratio {ratio:.2f}"
    ).format(**found)


def memory_line(root: Path) -> str:
    """Peak memory of two extractions, each in a process of its own."""
    peaks = []
    for n in (FEW, MANY):
        folder = root / f"n{n}"
        write_synthetic(folder / "test.parquet", n)
        code = f"from benchmarks.extract import peak_bytes; print(peak_bytes({str(folder)!r}))"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        peaks.append(json.loads(done.stdout.splitlines()[-1]))
    few, many = (peak / 2**20 for peak in peaks)
    return (
        f"peak memory: {FEW} images {few:.0f} MiB, {MANY} images {many:.0f} MiB: "
        f"ratio {many / few:.3f}"
    )


def peak_bytes(folder: str) -> int:
    """Of this process after it has extracted one model over the images there."""
    import resource

    root = Path(folder)
    chosen = [seeded(get("shufflenetv2_x0_5", "cifar10"), root)]
    run_once(
        chosen, [open_split("cifar10", "test", folder)], extract.Options(open_device("cpu")), root
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def seeded(spec: ModelSpec, root: Path) -> Chosen:
    """A model with random weights from a fixed seed, saved so that run() loads it like any."""
    torch.manual_seed(0)
    path = root / f"{spec.name}.pt"
    torch.save(instantiate(spec).state_dict(), path)
    return Chosen(spec.name, spec, Weights(path, "0" * 64, "file", (), "stated"))


def run_once(
    chosen: Sequence[Chosen], sources: Sequence[Source], options: extract.Options, root: Path
) -> float:
    with tempfile.TemporaryDirectory(dir=root) as cache:
        begun = time.perf_counter()
        extract.run(Store(cache), sources, chosen, options)
        return time.perf_counter() - begun


def decode_alone(case: Case, options: extract.Options) -> float:
    """Every image decoded once, and transformed once per geometry that the models share."""
    groups = {View("identity", spec.preprocessing).geometry for spec in case.specs}
    begun = time.perf_counter()
    for source in case.sources:

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


def write_synthetic(path: Path, n: int, different: int = 5_000, size: int = 32) -> None:
    """Smooth random JPEGs in the Hugging Face layout; so many `different`, repeated."""
    from PIL import Image

    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(min(n, different)):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        buffer = BytesIO()
        small.resize((size, size)).save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    rows = [
        {"img": {"bytes": encoded[i % different], "path": f"{i}.jpg"}, "label": i % 10}
        for i in range(n)
    ]
    os.makedirs(path.parent, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1_000)


if __name__ == "__main__":
    main()
