"""What the original is compared on: two splits' logits, answers and scores from one cache."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

import cache
from benchmarks import original
from benchmarks.original import Scored
from cache import Manifest, Partition, Store
from stages import scores
from stages.scores import ScoreSet
from stages.threshold import FitPlan, OperatingPoint, ThresholdQuestion, operating_points
from stages.threshold.stage import Pair

SHARED = Path(__file__).parents[2] / "shared" / "data"
IMAGES, WEIGHTS = SHARED / "cifar10", SHARED / "weights" / "cifar10"
PAIRS = {"cifar10": ("resnet20", "resnet56"), "digits": ("digits_separable", "digits_residual")}


@dataclass(frozen=True)
class Split:
    """A split's M models: our scores, and the logits float32 [N, K] that they come from."""

    ours: ScoreSet
    logits: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, store: Store, dataset: str, name: str) -> Split:
        ours = scores.load(store, dataset, name)
        logits = (logits_of(store, ours, model) for model in range(len(ours.models)))
        return cls(ours, tuple(logits))

    @cached_property
    def original(self) -> list[Scored]:
        return [original.scored(each) for each in self.logits]


def extracted(root: str) -> str:
    """Fill the cache: real CIFAR-10 where it lies beside the repository, else the digits."""
    wanted = ["--dataset", "digits", "--models", ",".join(PAIRS["digits"])]
    if IMAGES.is_dir() and WEIGHTS.is_dir():
        wanted = ["--dataset", "cifar10", "--data", str(IMAGES), "--weights", str(WEIGHTS)]
        wanted += ["--models", "all-available"]
    command = [sys.executable, "-m", "cascade_cli.main", "extract", "--cache", root]
    subprocess.run([*command, "--split", "val,test", *wanted], check=True, capture_output=True)
    return root


def exact(ours: ScoreSet, pairs: list[Pair], grid: int | None = None) -> list[OperatingPoint]:
    """As `cascade threshold` finds it, on the images it reports, as the original does."""
    plan = FitPlan("same-split", ours.split, ours, ())
    return list(
        operating_points(ours, plan, pairs, ThresholdQuestion(objectives=("best",), grid=grid))
    )


def pair_of(ours: ScoreSet) -> Pair:
    first, second = map(ours.index, PAIRS[ours.dataset])
    return first, second


def logits_of(store: Store, ours: ScoreSet, model: int) -> np.ndarray:
    """float32 [N, K], in the order of the sample ids."""
    ids, rows = zip(*cache.iter_logits(store, sibling(store, ours, model, "logits")), strict=True)
    return np.concatenate(rows)[np.argsort(np.concatenate(ids))]


def forward_seconds(store: Store, ours: ScoreSet) -> list[float]:
    """Of each model over the split, as `extract` timed it."""
    tables = (sibling(store, ours, model, "timings") for model in range(len(ours.models)))
    return [sum(cache.read_table(store, each)["forward_ms"].to_pylist()) / 1e3 for each in tables]


def sibling(store: Store, ours: ScoreSet, model: int, table: str) -> Manifest:
    """The partition of another table that a model's scores go with."""
    partition = Partition.of(table, **ours.manifests[model].partition.keys)
    found = cache.load(store, partition)
    if found is None:
        raise cache.InputError(f"the cache lacks {partition}: leave --cache out")
    return found
