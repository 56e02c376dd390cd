"""Which models there are: the tables' rows, what packages add, and references to libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from cache import InputError, one_of
from stages.models.factory import instantiate
from stages.models.programs import PREFIXES
from stages.models.reference import HOME, is_reference, resolve
from stages.models.spec import ModelSpec
from stages.plugins import MODELS, Extras, extras, misfit, of_this_project
from stages.runtimes import Preprocessing

if TYPE_CHECKING:
    from torch import nn

# What each gives are ModelSpecs: `module:attribute`.
TABLES: Mapping[str, str] = {
    "cifar10": "stages.models.tables:CIFAR10",
    "digits": "stages.models.tables:DIGITS",
    "imagenet": "stages.models.tables:IMAGENET",
}
SPECS: tuple[ModelSpec, ...] = tuple(
    spec for table in of_this_project(MODELS, TABLES).values() for spec in table.item
)


def get(name: str, dataset: str | None = None) -> ModelSpec:
    """The model called `name`, on `dataset` or else on the dataset it is registered for.

    A reference, such as `resnet50@IMAGENET1K_V2` or `timm/NAME`, is resolved by its library. On
    another dataset than its own a model is an architecture without published weights: one of
    CIFAR-10 takes the pictures as 32 × 32 pixels in that dataset's own normalisation, one of the
    digits as 8 × 8 grey ones, the others keep their preprocessing. Raises InputError for other
    names.
    """
    found = _own(name, dataset)
    if found is None and dataset not in (None, HOME):
        found = _portable(name, dataset, SPECS)
    if found is None and is_reference(name):
        found = resolve(name)
        found = found if dataset in (None, HOME) else _moved(found, dataset)
    if found is None and dataset is not None:
        found = _portable(name, dataset, _all())
    if found is None:
        raise _unknown(name, dataset)
    return found


def _unknown(name: str, dataset: str | None) -> InputError:
    if ":" in name:
        return InputError(
            f"unknown model {name!r}: a reference is ARCHITECTURE@WEIGHTS, timm/NAME or "
            "file:PATH.pt2 or onnx:PATH.onnx; nothing is run from a hub"
        )
    _extras().check()
    what = "model" if dataset is None else f"{dataset} model"
    listing = "cascade models" + (f" -d {dataset}" if dataset else "")
    return one_of(what, name, [spec.name for spec in specs(dataset)], listing)


def knows(name: str, dataset: str) -> bool:
    """Whether `get` would find it; resolves no reference."""
    own = _own(name, dataset) is not None
    return own or is_reference(name) or _portable(name, dataset, _all()) is not None


def specs(dataset: str | None = None) -> list[ModelSpec]:
    """All models, or those of a dataset (where no table has any: every table's architectures).

    A package whose models cannot be used is told.
    """
    added = [one.item for one in _extras().listed().values()]
    if dataset is None:
        return [*SPECS, *added]
    own = [spec for spec in SPECS if spec.dataset == dataset]
    own = own or [_moved(spec, dataset) for spec in SPECS]
    return [*own, *(spec for spec in added if spec.dataset == dataset)]


def dataset_of(name: str) -> str:
    """The dataset that a model is for, InputError for an unknown name; resolves no reference."""
    found = _own(name, None)
    if found is None and is_reference(name):
        return HOME
    if name.startswith(PREFIXES):
        raise InputError(f"{name} does not say which dataset it is for")
    return (found or get(name)).dataset


def _extras() -> Extras:
    taken = {_key(spec) for spec in SPECS}
    return extras(MODELS, ModelSpec, "model", taken, _unusable, _key)


def _key(spec: ModelSpec) -> tuple[str, str]:
    return spec.name, spec.dataset


def _unusable(spec: ModelSpec) -> str | None:
    """What of a package's spec cannot be, in a few words."""
    for part in (spec, spec.preprocessing, spec.published):
        if part is not None and (wrong := misfit(part)):
            return wrong
    if spec.classes < 1:
        return f"its model {spec.name} has {spec.classes} classes"
    try:
        Preprocessing.of(spec.preprocessing.describe(), f"its model {spec.name}")
    except InputError as error:
        return str(error)
    return None


def _all() -> Iterator[ModelSpec]:
    """The tables' models, then the packages', which are not asked for what a table has."""
    yield from SPECS
    yield from (one.item for one in _extras().items.values())


def _own(name: str, dataset: str | None) -> ModelSpec | None:
    found = (spec for spec in _all() if spec.name == name and dataset in (None, spec.dataset))
    return next(found, None)


def _portable(name: str, dataset: str, among: Iterable[ModelSpec]) -> ModelSpec | None:
    """The architecture of another dataset."""
    found = (spec for spec in among if spec.name == name and spec.dataset != dataset)
    return next((_moved(spec, dataset) for spec in found), None)


def _moved(spec: ModelSpec, dataset: str) -> ModelSpec:
    preprocessing, fit = spec.preprocessing, _FITS.get(spec.dataset)
    if fit is not None and preprocessing.size is None:
        preprocessing = fit(preprocessing, dataset)
    return replace(
        spec,
        dataset=dataset,
        preprocessing=preprocessing,
        parameters=None,
        macs=None,
        published=None,
        fetches=False,
        shipped=None,
        shipped_top1=None,
        trained_on=("train",),
    )


def _small(preprocessing: Preprocessing, dataset: str) -> Preprocessing:
    """32 × 32 pixels, normalised as the dataset says where it is a known one."""
    from stages.datasets import spec as dataset_spec

    known, channels = dataset_spec(dataset), len(preprocessing.mean)
    if known is not None:
        mean, std = ((*values,) * channels for values in (known.mean, known.std))
        preprocessing = replace(preprocessing, mean=mean[:channels], std=std[:channels])
    return replace(preprocessing, resize=(32, 32))


# How models that take the pictures of their dataset as they are see those of another.
_FITS: dict[str, Callable[[Preprocessing, str], Preprocessing]] = {
    "cifar10": _small,
    "digits": lambda preprocessing, dataset: replace(preprocessing, resize=(8, 8)),
}


def build(name: str, dataset: str | None = None, classes: int | None = None) -> nn.Module:
    """The torch module in eval mode, without trained weights; InputError for an unknown name.

    >>> build("resnet20", dataset="cifar10").fc.out_features
    10
    """
    return instantiate(get(name, dataset), classes)
