"""How close extraction comes to its floor, in eager torch and in ONNX Runtime.

    python -m benchmarks.extract

The floor is what the machine cannot do without: processor seconds of decoding, and of each model's
forward passes in whichever engine takes fewest, a thread each, over the cores; on a GPU the larger
of decoding and forward. Compute-bound and decode-bound cases on real ImageNet and CIFAR-10 JPEGs
where ../shared has them, on synthetic ones elsewhere; then the same beside a process that keeps a
core busy; one pass with four models against four passes with one; and the peak memory of 10,000
images against 40,000. Weights are random: they do not change the time. Each time is the best of
two, taken in turn.

Of the floor, ONNX Runtime, the quickest: compute-bound 0.93 on CIFAR-10 and 0.88 on ImageNet on two
shared cores of an AMD EPYC server, 1.00 on CIFAR-10 on two of a Xeon, there with resnet20 alone
0.83; decode-bound, with a net that computes next to nothing, 0.45 on the Xeon, where Python's own
part of decoding a small JPEG holds the interpreter lock. Beside a process that keeps one of the two
cores busy a run takes 1.8 times as long in torch and 1.6 times in ONNX Runtime.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
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
from stages.models import (
    Chosen,
    ModelSpec,
    Target,
    Weights,
    for_engine,
    get,
    instantiate,
    load,
)
from stages.models.weights import digest
from stages.parallel import default_workers, prefetch
from stages.runtimes import Device, View, engine_of, open_device, synchroniser

SHARED = Path(__file__).parents[2] / "shared" / "data"
CIFAR_MODELS = ("resnet20", "resnet32", "shufflenetv2_x0_5", "vgg11_bn")
IMAGENET_MODELS = ("resnet18", "resnet50", "regnet_y_1_6gf", "densenet121")
ROUNDS = 2
# How often the compute-bound and the decode-bound case have each image: CIFAR-10's real 60,000, and
# so few of ImageNet that they would else measure what any run costs, however long.
REPEAT = {"cifar10": (1, 4), "imagenet": (2, 16)}
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
            few, many = (of(open_images(root, dataset, repeat)) for repeat in REPEAT[dataset])
            every += [few[0], many[1]]
        for case in every:
            print(line(measure(case, root, open_device("cpu"))), flush=True)
        for case in every[::2]:
            print(busy_line(case, root), flush=True)
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
    """The best seconds of ROUNDS for each part, and the floor's ratio to the quickest run."""
    runs = {
        engine: ([run_by(engine, spec, case, root) for spec in case.specs], extract.Options(on))
        for engine, on in engines(device).items()
    }
    parts: dict[str, list[float]] = {"decode_s": []}
    for _ in range(ROUNDS):
        parts["decode_s"].append(decode_alone(case, runs["torch"][1]))
        for engine, (chosen, options) in runs.items():
            for one in chosen:
                took = bare_forward(one, case.sources, options)
                parts.setdefault(f"{one.name} {engine}", []).append(took)
            parts.setdefault(engine, []).append(run_once(chosen, case.sources, options, root))
    best = {name: min(each) for name, each in parts.items()}
    forward = sum(min(best[f"{spec.name} {engine}"] for engine in runs) for spec in case.specs)
    both = (best["decode_s"], forward)
    floor = sum(both) / default_workers() if device.type == "cpu" else max(both)
    return {
        "case": case.name,
        "dataset": case.sources[0].dataset,
        "models": len(case.specs),
        "images": sum(map(len, case.sources)),
        "decode_s": best["decode_s"],
        "forward_s": forward,
        "floor_s": floor,
        "runs": {engine: best[engine] for engine in runs},
        "efficiency": floor / min(best[engine] for engine in runs),
    }


def engines(device: torch.device) -> dict[str, Device]:
    """What `extract` runs on that device."""
    found: dict[str, Device] = {"torch": device}
    if device.type == "cpu" and find_spec("onnxruntime"):
        found["onnxruntime"] = open_device("cpu", engine="onnxruntime")
    return found


def run_by(engine: str, spec: ModelSpec, case: Case, root: Path) -> Chosen:
    """The model with random weights, as the engine takes it."""
    size = case.sources[0].read(0).shape[:2]
    return for_engine(seeded(spec, root), Target(engine, size=size, folder=root / "onnx"))


def line(found: dict[str, Any]) -> str:
    runs = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["runs"].items())
    return (
        "{dataset}, {case}: {models} models, {images} images: decoding {decode_s:.2f} and forward "
        "{forward_s:.2f} processor seconds, floor {floor_s:.2f} s; run() in {0}: efficiency "
        "{efficiency:.2f}"
    ).format(runs, **found)


def busy_line(case: Case, root: Path) -> str:
    """`run()` with and without a process beside it that keeps a core busy."""
    found = []
    for engine, device in engines(open_device("cpu")).items():
        chosen = [run_by(engine, spec, case, root) for spec in case.specs]
        options = extract.Options(device)
        alone = run_once(chosen, case.sources, options, root)
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            beside = run_once(chosen, case.sources, options, root)
            other.kill()
        found.append(f"{engine} {alone:.2f} s alone, {beside:.2f} s beside: {beside / alone:.2f}")
    return f"{case.sources[0].dataset}, a core kept busy: {'; '.join(found)}"


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
    return Chosen(spec.name, spec, Weights(path, digest(path), "file", (), "stated"))


def run_once(
    chosen: Sequence[Chosen], sources: Sequence[Source], options: extract.Options, root: Path
) -> float:
    with tempfile.TemporaryDirectory(dir=root) as cache:
        begun = time.perf_counter()
        extract.run(Store(cache), sources, chosen, options)
        return time.perf_counter() - begun


def decode_alone(case: Case, options: extract.Options) -> float:
    """Every image decoded once, and transformed once per geometry that the models share.

    Processor seconds on a CPU, else seconds.
    """
    groups = {View("identity", spec.preprocessing).geometry for spec in case.specs}
    step = max(options.batch(spec.preprocessing) for spec in case.specs)
    clock = clock_of(options.device)
    begun = clock()
    for source in case.sources:

        def decode(start: int, source: Source = source) -> list[np.ndarray]:
            pictures = [source.read(i) for i in range(start, min(start + step, len(source)))]
            return [np.stack([group.pixels(p) for p in pictures]) for group in groups]

        for _ in prefetch(decode, range(0, len(source), step), default_workers()):
            pass
    return clock() - begun


def clock_of(device: Device) -> Callable[[], float]:
    """Processor seconds of this process where it computes itself."""
    return time.process_time if device.type == "cpu" else time.perf_counter


def bare_forward(one: Chosen, sources: Sequence[Source], options: extract.Options) -> float:
    """Ready batches of the right sizes, on the device, straight into the model.

    Processor seconds on a CPU, of as many single threads as it has cores, else seconds.
    """
    engine, seen = engine_of(options.device), one.spec.preprocessing
    threads, batch = engine.threads(options.device), options.batch(seen)
    sizes = [
        min(batch, len(source) - start)
        for source in sources
        for start in range(0, len(source), batch)
    ]
    device = engine.on_threads(options.device, 1)
    runner = engine.runner_of(load(one.spec, one.weights), seen, device)
    shape = seen.pixels(sources[0].read(0)).shape
    ready = {
        size: runner.upload(np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8))
        for size in set(sizes)
    }
    sync, clock = synchroniser(device), clock_of(device)
    for given in ready.values():
        runner.logits(given)
    sync()
    with ThreadPoolExecutor(threads) as pool:
        begun = clock()
        list(pool.map(lambda size: len(runner.logits(ready[size])), sizes))
        sync()
        took = clock() - begun
    engine.on_threads(device, threads)
    return took


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
