"""The original's method, written anew from its description: one image at a time, in Python.

What Kinnas et al. 2024 and their programs `threshold.py` and `heterogeneity.py` compute, for
benchmarks and tests only; nothing else decides by this. docs/comparison.md holds it against ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import torch

GRID = 2_000
NAMES = ("maxp", "difference", "entropy")
# `nats` is entropy as the live program compares it, not divided by that of even chances.
SIGNS = {"maxp": +1, "difference": +1, "entropy": -1, "nats": -1}


@dataclass(frozen=True)
class Scored:
    """One model on N images: `answers` int [N], `scores` float64 [N] by name."""

    answers: np.ndarray
    scores: dict[str, np.ndarray]


def scored(logits: np.ndarray) -> Scored:
    """float32 [N, K] → answers and scores, row by row."""
    rows = torch.from_numpy(logits)
    even = entropy(torch.zeros(rows.shape[1]))
    answers, found = [], []
    for row in rows:
        nats = entropy(row)
        answers.append(torch.argmax(row).item())
        found.append((max_probability(row), difference(row), nats / even, nats))
    columns = np.array(found, np.float64).T
    return Scored(np.array(answers), dict(zip(SIGNS, columns, strict=True)))


def max_probability(row: torch.Tensor) -> float:
    return torch.softmax(row, 0).max().item()


def difference(row: torch.Tensor) -> float:
    probabilities = torch.softmax(row, 0).tolist()
    first = max(probabilities)
    probabilities.remove(first)
    return first - max(probabilities)


def entropy(row: torch.Tensor) -> float:
    """In nats. ValueError, the logarithm of 0, where a float32 probability underflows."""
    return -sum(p.item() * log(p.item()) for p in torch.softmax(row, 0))


@dataclass(frozen=True)
class Point:
    """A λ and, over all images: right answers, those with post-check, images that B saw."""

    threshold: float
    right: int
    checked: int
    used: int

    def correct(self, postcheck: bool) -> int:
        return self.checked if postcheck else self.right


def sweep(
    labels: np.ndarray, first: Scored, second: Scored, name: str, grid: Sequence[float]
) -> list[Point]:
    """A loop over all images for each λ. Signs make the larger score the surer one."""
    sign = SIGNS[name]
    s_a, s_b = (sign * model.scores[name] for model in (first, second))
    # Lists go through a loop faster than the original's data frames.
    columns = [each.tolist() for each in (labels, first.answers, second.answers, s_a, s_b)]
    return [Point(λ, *_counts(columns, sign * λ)) for λ in map(float, grid)]


def _counts(columns: list[list], cut: float) -> tuple[int, int, int]:
    right = checked = used = 0
    for label, answer_a, answer_b, s_a, s_b in zip(*columns, strict=True):
        if s_a >= cut:
            right += answer_a == label
            checked += answer_a == label
        else:
            used += 1
            right += answer_b == label
            checked += (answer_b if s_b > s_a else answer_a) == label
    return right, checked, used


def best(points: Sequence[Point], name: str, postcheck: bool) -> Point:
    """The first of the most accurate: the smallest λ, of entropy the largest."""
    return max(points[:: SIGNS[name]], key=lambda p: p.correct(postcheck))


def heterogeneity(answers: Sequence[Sequence[int]], labels: Sequence[int]) -> list[list[float]]:
    """[M][M]: every ordered pair, the diagonal too, image by image."""
    out = []
    for one in answers:
        out.append([])
        for other in answers:
            count = 0
            for i, j, label in zip(one, other, labels, strict=True):
                count += (i == label or j == label) and i != j
            out[-1].append(count / len(labels))
    return out
