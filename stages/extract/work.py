"""What is to be made, as plain data that another process or machine can be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cache import TIMINGS, Part, Partition, PartWriter, Store, logits_schema
from stages.datasets import Source
from stages.models import Chosen
from stages.runtimes import Device, View

Item = tuple[int, int]
"""A split, by its position among the sources, and a part of it."""


@dataclass(frozen=True)
class Task:
    """One model on one variant of one split, and the parts of it that are to be made.

    `values` are the keys of its partition; the three dicts are those of PartWriter; `batch` is
    images per forward pass.
    """

    split: int
    chosen: Chosen
    view: View
    classes: int
    values: tuple[str, ...]
    identity: Mapping[str, Any]
    provenance: Mapping[str, Any]
    made_with: Mapping[str, Any]
    parts: frozenset[int]
    precision: str
    batch: int

    @property
    def runtime(self) -> str:
        return self.partition("logits").keys["runtime"]

    def partition(self, table: str) -> Partition:
        return Partition(table, self.values)

    def writer(self, store: Store, table: str) -> PartWriter:
        """For single parts; the driver publishes the partition."""
        return PartWriter(
            store,
            self.partition(table),
            logits_schema(self.classes) if table == "logits" else TIMINGS,
            dict(self.identity),
            dict(self.provenance),
            dict(self.made_with),
        )


@dataclass(frozen=True)
class Work:
    """A run's tasks and what all its workers need; `devices` is what each runtime is run on, where
    the worker has none of its own."""

    root: str
    sources: tuple[Source, ...]
    tasks: tuple[Task, ...]
    part_rows: int
    workers: int
    devices: Mapping[str, Device]

    @property
    def precision(self) -> str:
        """That of all tasks, in one runtime."""
        [precision] = {task.precision for task in self.tasks}
        return precision

    @property
    def batch(self) -> int:
        """Images that are decoded together."""
        return max((task.batch for task in self.tasks), default=1)

    def items(self) -> list[Item]:
        """Every part that some task lacks, split by split."""
        return sorted({(task.split, part) for task in self.tasks for part in task.parts})

    def lacking(self, item: Item) -> list[int]:
        """Positions of the tasks that lack this part."""
        split, part = item
        return [
            i for i, task in enumerate(self.tasks) if task.split == split and part in task.parts
        ]

    def span(self, item: Item) -> tuple[int, int]:
        """Rows [start, stop) of a part."""
        split, part = item
        start = part * self.part_rows
        return start, min(start + self.part_rows, len(self.sources[split]))

    def images(self, items: Sequence[Item]) -> int:
        return sum(stop - start for start, stop in map(self.span, items))


@dataclass(frozen=True)
class Made:
    """One finished part of one task: its files, right answers, and what the forward passes took."""

    task: int
    part: int
    logits: Part
    timings: Part
    right: int
    forward_ms: float
