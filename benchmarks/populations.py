"""Images of which everything is known, to draw from: what models answer, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cache import Manifest, Partition
from stages.cascade import Cascade, Outcome
from stages.scores import ScoreSet

# What real models answered; see there for where it is from.
OUTPUTS = Path(__file__).parents[2] / "shared" / "data" / "outputs"
# About how many billions of multiply-adds an image takes.
IMAGENET = {
    "mobilenetV2_keras": 0.3,
    "alexnet_pytorch": 0.7,
    "resnet18_pytorch": 1.8,
    "resnet50_pytorch": 4.1,
    "inceptionv3_keras": 5.7,
    "xception_keras": 8.4,
    "nasnetlarge_keras": 23.8,
}


@dataclass(frozen=True)
class Population:
    """All images there are, and what a request by each of the M models costs: float64 [M]."""

    name: str
    scores: ScoreSet
    costs: np.ndarray

    def drawn(self, rng: np.random.Generator, n: int, split: str = "test") -> ScoreSet:
        """n images, with replacement, under fresh keys."""
        found = self.scores.of_images(rng.integers(len(self.scores.labels), size=n))
        return replace(found, split=split, sample_ids=np.arange(n))

    def cost(self, point: Cascade, found: Outcome) -> float:
        """Per request, of what it does to all images."""
        alone = (float(self.costs[self.scores.index(name)]) for name in point.models)
        return sum(cost * found.usage(j) for j, cost in enumerate(alone))


def real(name: str, file: str, costs: Mapping[str, float]) -> Population | None:
    """The two largest probabilities of these models, which give maxp and difference exactly; None,
    with a word, where the file is not there."""
    import pyarrow.parquet as pq

    if not (OUTPUTS / file).exists():
        print(f"{name} is left out: {file} is not there")
        return None
    wanted = [f"{model}.{what}" for model in costs for what in ("class_1", "p_1", "p_2")]
    table = pq.read_table(OUTPUTS / file, columns=["label", *wanted])
    answers, first, second = (
        np.stack([table[f"{model}.{what}"].to_numpy() for model in costs])
        for what in ("class_1", "p_1", "p_2")
    )
    sure = {"maxp": first.astype(np.float64)}
    sure["difference"] = sure["maxp"] - second
    labels = table["label"].to_numpy().astype(np.int32)
    scores = score_set(tuple(costs), labels, answers.astype(np.int32), sure)
    return Population(name, scores, np.array(list(costs.values())))


def score_set(
    names: tuple[str, ...], labels: np.ndarray, answers: np.ndarray, scores: dict[str, np.ndarray]
) -> ScoreSet:
    """int32 [N], int32 [M, N], and by name float64 [M, N]; from no cache."""
    keys = {"dataset": "drawn", "split": "test", "variant": "identity", "runtime": "import"}
    manifests = tuple(
        Manifest(Partition.of("scores", **keys, model=name), (), {}, {}) for name in names
    )
    about = (np.arange(len(labels)), labels, answers, answers == labels)
    return ScoreSet("drawn", "test", names, *about, scores, manifests)
