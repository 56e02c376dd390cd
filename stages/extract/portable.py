"""Work that is handed to another process or machine, and opened and checked there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from cache import InputError
from stages.datasets import Opening, fingerprint, reopened
from stages.extract.work import Task, Work
from stages.models import Chosen, find

Parcel = tuple[Work, tuple[Opening, ...]]
"""Work without its sources, its paths absolute, and how another process opens them."""


def portable(work: Work) -> Parcel:
    openings = []
    for source in work.sources:
        if source.opening is None:
            raise ValueError(f"{source.dataset}/{source.split} was not opened from files")
        openings.append(source.opening)
    root = work.root if "://" in work.root else os.path.abspath(work.root)
    paths = [Path(os.path.abspath(task.chosen.weights.path)) for task in work.tasks]
    tasks = tuple(map(_with_path, work.tasks, paths))
    return replace(work, root=root, sources=(), tasks=tasks), tuple(openings)


def arrived(work: Work, openings: tuple[Opening, ...]) -> Work:
    """The work with its sources and weights as they lie here.

    InputError where the images or the weights are not those of the driver.
    """
    sources = tuple(reopened(opening) for opening in openings)
    for split, source in enumerate(sources):
        wanted = {t.identity["dataset_fingerprint"] for t in work.tasks if t.split == split}
        if wanted - {fingerprint(source)}:
            raise InputError(
                f"{source.dataset}/{source.split} has other images on this worker than on the "
                "driver: give all of them the same --data"
            )
    chosen = {task.chosen.name: task.chosen for task in work.tasks}
    here = {name: _weights_here(one) for name, one in chosen.items()}
    tasks = tuple(_with_path(task, here[task.chosen.name]) for task in work.tasks)
    return replace(work, sources=sources, tasks=tasks)


def _with_path(task: Task, path: Path) -> Task:
    weights = replace(task.chosen.weights, path=path)
    return replace(task, chosen=replace(task.chosen, weights=weights))


def _weights_here(chosen: Chosen) -> Path:
    """The driver's very weights: at the same path, else where published ones are kept here."""
    wanted = chosen.weights
    there = wanted.path if wanted.path.is_file() else None
    found = find(chosen.spec, there)
    if found.sha256 != wanted.sha256:
        raise InputError(
            f"{found.path} on this worker is not the driver's file of {chosen.name} (SHA-256 "
            f"{found.sha256[:12]}, there {wanted.sha256[:12]}): put the same --weights on both"
        )
    return found.path
