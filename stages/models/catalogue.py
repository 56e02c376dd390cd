"""What `cascade models` shows: the registry's facts, and where each model's weights are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from stages.models.registry import specs
from stages.models.spec import ModelSpec
from stages.models.weights import locate, stated


@dataclass(frozen=True)
class ListedModel:
    """A model of the registry; unknown is None.

    `macs` are multiply-adds per image by our count, `published_macs` by the authors'; `top1` is a
    fraction; `weights` is a path, "shipped", "download" or None (bring your own).
    """

    name: str
    dataset: str
    family: str
    classes: int
    parameters: int | None
    macs: int | None
    published_macs: int | None
    top1: float | None
    trained_on: list[str]
    weights: str | None
    fusible: bool


def listing(
    dataset: str | None = None, directory: str | os.PathLike[str] | None = None
) -> list[ListedModel]:
    """All models of a dataset, in the registry's order."""
    return [_row(spec, directory) for spec in specs(dataset)]


def _row(spec: ModelSpec, directory: str | os.PathLike[str] | None) -> ListedModel:
    path, origin = locate(spec, directory=directory) or (None, "download")
    splits = None if path is None else stated(path)
    about = (spec.name, spec.dataset, spec.family, spec.classes, spec.parameters, spec.macs)
    published = spec.published.macs if spec.published else None
    seen = list(spec.trained_on if splits is None else splits)
    where = _whereabouts(spec, path, origin)
    return ListedModel(*about, published, spec.top1, seen, where, spec.fusible)


def _whereabouts(spec: ModelSpec, path: Path | None, origin: str) -> str | None:
    if path is None:
        return origin if spec.published else None
    return origin if origin == "shipped" else str(path)
