"""The measuring half of benchmarks.gpu: profile, serve, extract, on one device."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import extract as extraction, gpu_compare
from cache import CostRow, now, versions
from stages.cascade import Cascade
from stages.costs import profiling
from stages.datasets import Source, open_split
from stages.energy import Idle, Meter, idle_of
from stages.live import LiveCascade, Served, serve_all
from stages.models import Chosen, find, get, load
from stages.models.weights import locate
from stages.runtimes import Pictures, Runner, device_name, runtime_name, synchroniser
from stages.runtimes.torch_engine import processor
from stages.scores import ScoreSet

# Two that are small for most devices, then two that are large: every pair of them is a cascade.
SMALL, LARGE = ("resnet20", "vgg11_bn"), ("resnet56", "vgg19_bn")
USES = (0.2, 0.5, 0.8)
SCORE = "maxp"
LONGEST_S = 5.0
# What a window takes beside its seconds: questions to the driver, and the rest of a pass.
BESIDE_S = 0.2


@dataclass(frozen=True)
class Plan:
    """How much is measured: `windows` for each figure of the profile; of each contender `blocks`,
    with `requests` images or `batches` batches, whichever is more; `budget_s` for all windows, of
    `least_s` each or more; `images` made up where no `real` ones are wanted or there."""

    batch_sizes: tuple[int, ...]
    windows: int
    blocks: int
    requests: int
    batches: int
    budget_s: float
    least_s: float
    idle_s: float
    images: int
    real: bool

    def served(self, size: int) -> int:
        """Requests of a contender at this batch size."""
        return self.blocks * size * max(self.batches, self.requests // size)


FULL = Plan(
    batch_sizes=(1, 16, 64),
    windows=3,
    blocks=2,
    requests=96,
    batches=12,
    budget_s=320.0,
    least_s=0.5,
    idle_s=10.0,
    images=20_000,
    real=True,
)
DRY = Plan(
    batch_sizes=(1, 4),
    windows=2,
    blocks=2,
    requests=2,
    batches=1,
    budget_s=0.0,
    least_s=0.005,
    idle_s=0.01,
    images=16,
    real=False,
)


def run(device: torch.device, plan: Plan, meters: Sequence[Meter], root: Path) -> dict[str, Any]:
    """Every figure, JSON-ready; `meters` are the device's and what lies beside it."""
    sources = _sources(plan, root)
    chosen = [_weights(name, root) for name in (*SMALL, *LARGE)]
    runners = {one.name: _runner(one, device) for one in chosen}
    scores = score_set(sources[0], runners, max(map(plan.served, plan.batch_sizes)))
    cascades = choose(scores)
    sighted = [meter for meter in meters if meter.sensor.source != "none"]
    sync, seconds = synchroniser(device), window_s(plan, sighted)
    _say(f"windows of {seconds:.3g} s; idle power")
    idle = idle_of(sighted, plan.idle_s, sync)
    _say(f"profile of {len(runners)} models")
    rows = _profiled(chosen, runners, sighted or meters, plan, seconds, idle)
    contenders = _contenders(cascades, runners)
    prices = gpu_compare.priced(rows, device_name(device), runtime_name(device, "fp32"))
    compared: list[dict[str, Any]] = []
    alone: list[dict[str, Any]] = []
    for size in plan.batch_sizes:
        _say(f"{len(cascades)} cascades at batch {size}")
        n = plan.served(size)
        served = serve_all(
            sources[0], contenders, size, n, sighted, seconds, blocks=plan.blocks, idle=idle
        )
        compared += gpu_compare.rows(prices, scores.of_images(slice(n)), cascades, served, size)
        alone += [_alone(name, served[name], size) for name in runners]
    after = idle_of(sighted, plan.idle_s, sync)
    _say("extraction")
    every = extraction.cases(sources) + extraction.imagenet_cases(_large_images(plan, root))
    extracted = [extraction.measure(case, root, device) for case in every]
    together = [extraction.passes(case, root, device) for case in every[::2]]
    best = gpu_compare.best(compared)
    return {
        "made": now(),
        "device": _device(device),
        "versions": _versions(),
        "sensors": [asdict(meter.sensor) for meter in meters],
        "settings": _settings(plan, seconds, sources),
        "idle": {"before": [asdict(each) for each in idle], "after": [asdict(e) for e in after]},
        "models": [_model(one) for one in chosen],
        "profile": [vars(row) for found in rows.values() for row in found],
        "alone": alone,
        "cascades": compared,
        "best": best,
        "extract": extracted,
        "passes": together,
        "targets": gpu_compare.targets(compared, best, extracted),
    }


def window_s(plan: Plan, sighted: Sequence[Meter]) -> float:
    """An equal share of the budget, 5 s at most; never below 20 of the slowest sensor's ticks."""
    models, cascades = len(SMALL) + len(LARGE), len(SMALL) * len(LARGE) * len(USES)
    each = models * plan.windows + (models + cascades) * plan.blocks
    share = plan.budget_s / (each * len(plan.batch_sizes)) - BESIDE_S
    tick_s = max((meter.sensor.tick_s or 0.0 for meter in sighted), default=0.0)
    return max(plan.least_s, 1.05 * profiling.MIN_TICKS * tick_s, min(LONGEST_S, share))


def score_set(source: Source, runners: dict[str, Runner], n: int) -> ScoreSet:
    """The models' answers and scores on the first n images, as the cache would hold them."""
    pictures = Pictures.of(source, {runner.preprocessing for runner in runners.values()})
    found: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in runners}
    for start in range(0, n, 64):
        pixels = pictures.batch(start, min(start + 64, n))
        for name, runner in runners.items():
            answers = runner.answers(runner.upload(pixels[runner.preprocessing]))
            found[name].append(answers)

    def stack(column: str) -> np.ndarray:
        return np.stack([np.concatenate([b[column] for b in each]) for each in found.values()])

    labels, predictions = source.labels[:n], stack("prediction")
    return ScoreSet(
        dataset=source.dataset,
        split=source.split,
        models=tuple(runners),
        sample_ids=np.arange(n),
        labels=labels,
        predictions=predictions,
        correct=predictions == labels,
        scores={SCORE: stack(SCORE)},
        manifests=(),
    )


def choose(scores: ScoreSet) -> dict[str, Cascade]:
    """Twelve cascades by name: λ at the quantiles of s_A that give B about the USES."""
    cascades = {}
    for a in SMALL:
        s_a = scores.score(SCORE, scores.index(a))
        for b in LARGE:
            for use in USES:
                threshold = float(np.quantile(s_a, use))
                cascades[f"{a} → {b} at {use}"] = Cascade.of((a, b), SCORE, threshold)
    return cascades


def _profiled(
    chosen: Sequence[Chosen],
    runners: dict[str, Runner],
    meters: Sequence[Meter],
    plan: Plan,
    seconds: float,
    idle: Sequence[Idle],
) -> dict[str, list[CostRow]]:
    runtime, shape = runtime_name(next(iter(runners.values())).device, "fp32"), (3, 32, 32)
    facts = {one.name: (one.spec.macs, one.spec.parameters) for one in chosen}
    subjects = [
        profiling.Subject(name, runtime, runners[name], shape, *known)
        for name, known in facts.items()
    ]
    return profiling.profile_models(
        subjects,
        meters,
        plan.batch_sizes,
        quick=plan.windows < profiling.WINDOWS,
        plan=(plan.windows, seconds),
        idle=idle,
    )


def _contenders(cascades: dict[str, Cascade], runners: dict[str, Runner]) -> dict[str, LiveCascade]:
    """The cascades, and each model alone under its own name."""
    alone = {name: LiveCascade(Cascade.of((name,)), [runner]) for name, runner in runners.items()}
    return alone | {
        name: LiveCascade(one, [runners[model] for model in one.models])
        for name, one in cascades.items()
    }


def _alone(name: str, served: Served, size: int) -> dict[str, Any]:
    return {"model": name, "batch_size": size} | gpu_compare.measured(served)


def _sources(plan: Plan, root: Path) -> list[Source]:
    """Real CIFAR-10 images beside the repository where they are, else made-up ones."""
    if plan.real and extraction.SHARED.exists():
        return extraction.open_images(root, "cifar10")
    extraction.write_synthetic(root / "test.parquet", plan.images)
    return [open_split("cifar10", "test", root)]


def _large_images(plan: Plan, root: Path) -> list[Source]:
    """Real ImageNet images where they are, repeated, else made-up ones of their size."""
    if plan.real and extraction.SHARED.exists():
        return extraction.open_images(root, "imagenet", repeat=max(1, plan.images // 2_500))
    extraction.write_synthetic(root / "imagenet" / "val.parquet", plan.images // 4, size=400)
    return [open_split("imagenet", "val", root / "imagenet")]


def _weights(name: str, root: Path) -> Chosen:
    """The published weights where torch.hub's store has them, else seeded ones."""
    spec = get(name, "cifar10")
    if locate(spec) is None:
        return extraction.seeded(spec, root)
    return Chosen(name, spec, find(spec, download=False))


def _runner(one: Chosen, device: torch.device) -> Runner:
    return Runner.of(load(one.spec, one.weights), one.spec.preprocessing, device)


def _model(one: Chosen) -> dict[str, Any]:
    seeded = one.weights.origin == "file"
    found = {"model": one.name, "weights": "seeded" if seeded else "published"}
    return found | {"macs": one.spec.macs, "parameters": one.spec.parameters}


def _device(device: torch.device) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": device_name(device),
        "runtime": runtime_name(device, "fp32"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        found |= {
            "capability": f"{about.major}.{about.minor}",
            "memory_bytes": about.total_memory,
            "multiprocessors": about.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def _versions() -> dict[str, str | None]:
    """`driver` is the sensors' to tell."""
    found = versions() | {"python": platform.python_version()}
    try:
        return found | {"nvidia-ml-py": metadata.version("nvidia-ml-py")}
    except metadata.PackageNotFoundError:
        return found | {"nvidia-ml-py": None}


def _settings(plan: Plan, seconds: float, sources: Sequence[Source]) -> dict[str, Any]:
    rule = f"{profiling.SENSOR_WINDOW_S:g} s and {profiling.WINDOWS} windows"
    kept = seconds >= profiling.SENSOR_WINDOW_S and plan.windows >= profiling.WINDOWS
    return asdict(plan) | {
        "window_s": seconds,
        "window_rule": f"{'as' if kept else 'below'} the rule of {rule}",
        "requests_by_batch_size": {str(size): plan.served(size) for size in plan.batch_sizes},
        "score": SCORE,
        "images_from": [f"{source.split}: {len(source)}" for source in sources],
        "real_images": plan.real and extraction.SHARED.exists(),
    }


_BEGUN = time.perf_counter()


def _say(what: str) -> None:
    print(f"{time.perf_counter() - _BEGUN:6.1f} s  {what}", file=sys.stderr)
