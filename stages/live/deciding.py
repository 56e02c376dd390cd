"""How long deciding takes beside the models: scores and rule, the logits being there already.

A profile times the models alone, and on nets of a few tenths of a millisecond this is a tenth.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stages.cascade import Cascade, Limit
from stages.runtimes import ModelRunner
from stages.scores import answered

LAPS = 200


@dataclass(frozen=True)
class Deciding:
    """Milliseconds of a batch that only the first stage answers, and of one that all do."""

    first: float = 0.0
    all: float = 0.0

    def per_batch(self, share: float) -> float:
        """Where this share of the batches is not answered by the first alone."""
        return (1 - share) * self.first + share * self.all


class Ready:
    """A model that has its logits already, for any batch of that many images."""

    def __init__(self, runner: ModelRunner, batch: Any) -> None:
        self.preprocessing, self.device = runner.preprocessing, runner.device
        self._logits = runner.host_logits(batch)

    def host_logits(self, batch: Any) -> np.ndarray:
        return self._logits[: len(batch)]

    def answers(self, batch: Any, score: str = "maxp") -> dict[str, np.ndarray]:
        return answered(self.host_logits(batch), score)


def median_ms(run: Callable[[], object], laps: int = LAPS) -> float:
    """Of one call."""
    times = []
    for _ in range(laps):
        begun = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - begun)
    return float(np.median(times)) / 1e6


def at_all(cascade: Cascade, kind: str) -> Cascade:
    """The cascade with every λ `always` or `never`."""
    stages = [
        one if one.limit is None else replace(one, limit=Limit(kind)) for one in cascade.stages
    ]
    return replace(cascade, stages=tuple(stages))
