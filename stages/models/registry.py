"""Which models there are: the rows of every family's table, looked up by name and dataset."""

from __future__ import annotations

from dataclasses import replace

from cache.errors import one_of
from stages.models import cifar10_table, digits_table
from stages.models.spec import ModelSpec, Published

__all__ = ["ModelSpec", "Published", "dataset_of", "get", "specs"]

SPECS: tuple[ModelSpec, ...] = (*cifar10_table.SPECS, *digits_table.SPECS)

# Architectures that people train on datasets of their own: coloured input of about 32 × 32.
PORTABLE = cifar10_table.SPECS


def get(name: str, dataset: str | None = None) -> ModelSpec:
    """The model called `name`, on `dataset` or else on the dataset it is registered for.

    On a dataset it is not registered for, a CIFAR architecture is a model without published
    weights, its input resized to 32 × 32. Raises InputError for other names.
    """
    if dataset is None:
        return _named(name, SPECS, "model")
    own = [spec for spec in SPECS if spec.dataset == dataset]
    if name in {spec.name for spec in own}:
        return _named(name, own, "model")
    moved = [_moved(spec, dataset) for spec in PORTABLE if spec.dataset != dataset]
    return _named(name, [*own, *moved], f"{dataset} model")


def specs(dataset: str | None = None) -> list[ModelSpec]:
    """All models, or those of a dataset (where none is registered: the CIFAR architectures)."""
    if dataset is None:
        return list(SPECS)
    own = [spec for spec in SPECS if spec.dataset == dataset]
    return own or [_moved(spec, dataset) for spec in PORTABLE]


def dataset_of(name: str) -> str:
    """The dataset that a model is registered for, InputError for an unknown name."""
    return get(name).dataset


def _named(name: str, among: tuple[ModelSpec, ...] | list[ModelSpec], what: str) -> ModelSpec:
    for spec in among:
        if spec.name == name:
            return spec
    raise one_of(what, name, [spec.name for spec in among])


def _moved(spec: ModelSpec, dataset: str) -> ModelSpec:
    return replace(
        spec,
        dataset=dataset,
        preprocessing=replace(spec.preprocessing, resize=(32, 32)),
        parameters=None,
        macs=None,
        published=None,
        shipped=None,
        shipped_top1=None,
        trained_on=("train",),
    )
