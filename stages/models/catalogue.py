"""What `cascade models` shows: the registry's facts, and where each model's weights are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stages.models.registry import specs
from stages.models.spec import ModelSpec
from stages.models.weights import locate, stated


def listing(
    dataset: str | None = None, directory: str | os.PathLike[str] | None = None
) -> list[dict[str, Any]]:
    """One JSON-ready dict per model, in the registry's order; unknown is None.

    `macs` are multiply-adds per image by our count, `published_macs` by the authors'; `top1` is a
    fraction; `weights` is a path, "shipped", "download" or None (bring your own).
    """
    return [_row(spec, directory) for spec in specs(dataset)]


def _row(spec: ModelSpec, directory: str | os.PathLike[str] | None) -> dict[str, Any]:
    path, origin = locate(spec, directory=directory) or (None, "download")
    splits = None if path is None else stated(path)
    return {
        "name": spec.name,
        "dataset": spec.dataset,
        "family": spec.family,
        "classes": spec.classes,
        "parameters": spec.parameters,
        "macs": spec.macs,
        "published_macs": spec.published.macs if spec.published else None,
        "top1": spec.top1,
        "trained_on": list(spec.trained_on if splits is None else splits),
        "weights": _whereabouts(spec, path, origin),
        "fusible": spec.fusible,
    }


def _whereabouts(spec: ModelSpec, path: Path | None, origin: str) -> str | None:
    if path is None:
        return origin if spec.published else None
    return origin if origin == "shipped" else str(path)
