"""Which models there are: the tables' rows, what packages add, and references to libraries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cache.errors import InputError, one_of
from stages import plugins
from stages.models import cifar10_table, digits_table, imagenet_table
from stages.models.programs import PREFIX
from stages.models.reference import HOME, is_reference, resolve
from stages.models.spec import ModelSpec, Published
from stages.preprocess import Preprocessing

__all__ = ["ModelSpec", "Published", "dataset_of", "get", "specs"]

SPECS: tuple[ModelSpec, ...] = (
    *cifar10_table.SPECS,
    *digits_table.SPECS,
    *imagenet_table.SPECS,
)

# Architectures that people train on datasets of their own, on coloured pictures.
PORTABLE = (*cifar10_table.SPECS, *imagenet_table.SPECS)


class UnknownModelError(InputError):
    """No table, package or library has a model of this name."""


def get(name: str, dataset: str | None = None) -> ModelSpec:
    """The model called `name`, on `dataset` or else on the dataset it is registered for.

    A reference, such as `resnet50@IMAGENET1K_V2` or `timm/NAME`, is resolved by its library. On
    another dataset an architecture of CIFAR-10, of ImageNet or of a reference is a model without
    published weights: the first takes the pictures as 32 × 32 pixels in that dataset's own
    normalisation, the others keep their preprocessing. Raises InputError for other names.
    """
    found = _named(name, _of(SPECS, dataset)) or _named(name, _of(_added(), dataset))
    if found is None and dataset not in (None, HOME):
        found = _named(name, _portable(dataset))
    if found is None and is_reference(name):
        found = resolve(name)
        found = found if dataset in (None, HOME) else _moved(found, dataset)
    if found is None and dataset == HOME:
        found = _named(name, _portable(dataset))
    if found is None and ":" in name:
        raise UnknownModelError(
            f"unknown model {name!r}: a reference is ARCHITECTURE@WEIGHTS, timm/NAME or "
            "file:PATH.pt2; nothing is run from a hub"
        )
    elsewhere = None if found is not None else _named(name, specs())
    if elsewhere is not None:
        raise UnknownModelError(
            f"unknown {dataset} model {name!r}: it is one of {elsewhere.dataset}, give that dataset"
        )
    if found is None:
        what = "model" if dataset is None else f"{dataset} model"
        listing = "cascade models" + (f" -d {dataset}" if dataset else "")
        raise UnknownModelError(str(one_of(what, name, [s.name for s in specs(dataset)], listing)))
    return found


def knows(name: str, dataset: str) -> bool:
    """Whether `get` would find it; resolves no reference."""
    among = (SPECS, _added())
    own = any(_named(name, _of(each, dataset)) for each in among)
    return own or is_reference(name) or _named(name, _portable(dataset)) is not None


def specs(dataset: str | None = None) -> list[ModelSpec]:
    """All models, or those of a dataset (where no table has any: the portable architectures)."""
    own = _of(SPECS, dataset) or ([] if dataset is None else _portable(dataset))
    return [*own, *_of(_added(), dataset)]


def dataset_of(name: str) -> str:
    """The dataset that a model is for, InputError for an unknown name; resolves no reference."""
    found = _named(name, SPECS) or _named(name, _added())
    if found is None and is_reference(name):
        return HOME
    if name.startswith(PREFIX):
        raise InputError(f"{name} does not say which dataset it is for")
    return (found or get(name)).dataset


def _added() -> list[ModelSpec]:
    """What installed packages add; InputError where one takes a name that is taken."""
    added: list[ModelSpec] = [one.item for one in plugins.loaded(plugins.MODELS, ModelSpec)]
    taken = {(spec.name, spec.dataset) for spec in SPECS}
    for spec in added:
        if (spec.name, spec.dataset) in taken:
            raise InputError(
                f"a package adds {spec.name} for {spec.dataset}, which is taken: uninstall it, "
                "or have it choose another name"
            )
        taken.add((spec.name, spec.dataset))
    return added


def _of(among: Iterable[ModelSpec], dataset: str | None) -> list[ModelSpec]:
    return [spec for spec in among if dataset in (None, spec.dataset)]


def _named(name: str, among: Iterable[ModelSpec]) -> ModelSpec | None:
    return next((spec for spec in among if spec.name == name), None)


def _portable(dataset: str) -> list[ModelSpec]:
    return [_moved(spec, dataset) for spec in PORTABLE if spec.dataset != dataset]


def _moved(spec: ModelSpec, dataset: str) -> ModelSpec:
    small = spec.dataset == "cifar10"
    preprocessing = _small(spec.preprocessing, dataset) if small else spec.preprocessing
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
    from stages.datasets.spec import spec as dataset_spec

    known, channels = dataset_spec(dataset), len(preprocessing.mean)
    if known is not None:
        mean, std = ((*values,) * channels for values in (known.mean, known.std))
        preprocessing = replace(preprocessing, mean=mean[:channels], std=std[:channels])
    return replace(preprocessing, resize=(32, 32))
