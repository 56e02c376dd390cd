"""Which dataset is meant, and the images of its splits."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress

from cache import (
    DamagedManifestError,
    InputError,
    Partition,
    Store,
    datasets,
    datasets_with,
    load,
    models,
    nearest,
    one_of,
)
from cascade_cli.inputs.models import cached_names
from cascade_cli.inputs.words import names_in
from cascade_cli.options.images import ImageOptions
from cascade_cli.show.text import say
from stages.datasets import Source, open_split, readable, split_name, splits
from stages.models import dataset_of
from stages.runtimes import checked
from stages.scores import model_in

DEFAULT_DATASET = "digits"


def dataset_for(dataset: str | None, model: str | None = None) -> str:
    """The dataset asked for, else the one the model belongs to, else digits."""
    if dataset is not None or model is None:
        return dataset or DEFAULT_DATASET

    try:
        return dataset_of(model)
    except InputError as error:
        raise InputError(f"{error}; for a model of your own give --dataset") from error


def dataset_of_first(
    dataset: str | None, wanted: Sequence[str], aliases: Sequence[str] | None
) -> str:
    """The same, of the first model that is named; not of one's own, `aliases`."""
    first = next((name for name in wanted if name not in ("all", "all-available")), None)
    return dataset_for(dataset, None if aliases else first)


def dataset_in(store: Store, dataset: str | None, models: Sequence[str | None] = ()) -> str:
    """The dataset to analyse: the one asked for, else the models', else the cache's only one."""
    given = [model_in(model)[0] for model in models if model]
    if dataset is not None:
        return dataset
    if not given:
        return _only_dataset(store)
    try:
        return dataset_for(None, given[0])
    except InputError:
        names = [each for each in cached_names(*given)[0] if each]
        known = _known(store, names)
        if not known:
            raise
        return _dataset_with(store, known)  # what it lacks of the others is told later


def _known(store: Store, names: Sequence[str]) -> list[str]:
    """Those that the cache has; InputError for one that it has not, but one much like it."""
    there = list(dict.fromkeys(each for name in datasets(store) for each in models(store, name)))
    for name in names:
        if name not in there and nearest(name, there):
            raise one_of("model", name, there)
    return [name for name in names if name in there]


def _only_dataset(store: Store) -> str:
    there = datasets(store)
    if not there:
        raise InputError(
            f"the cache {store.root} holds no dataset: fill it with the digits by `cascade extract "
            f"--cache {shlex.quote(store.root)}`, or name your dataset with --dataset"
        )
    if len(there) > 1:
        raise InputError(f"the cache holds {', '.join(there)}: choose one with --dataset")
    if there != [DEFAULT_DATASET]:
        say(f"dataset {there[0]}, the only one in {store.root}")
    return there[0]


def _dataset_with(store: Store, models: Sequence[str]) -> str:
    """The only dataset in the cache that has these models."""
    there, names = datasets_with(store, models), " and ".join(models)
    if len(there) > 1:
        raise InputError(
            f"the cache has {names} on {', '.join(there)}: choose a dataset with --dataset"
        )
    if not there:
        raise InputError(f"the cache has {names} on no dataset together: see `cascade cache ls`")
    say(f"dataset {there[0]}, the only one in {store.root} with {names}")
    return there[0]


def named_splits(dataset: str, text: str | None) -> list[str] | None:
    """Splits separated by commas, each once, as the cache calls them; None where none are given."""
    given = names_in(text)
    return given and list(dict.fromkeys(split_name(dataset, split) for split in given))


def variants_of(images: ImageOptions) -> tuple[str, ...]:
    """How the pictures are turned; InputError for what is no variant."""
    return tuple(checked(names_in(images.variants) or []))


def extract_splits(dataset: str, images: ImageOptions, asked: str | None = None) -> list[str]:
    """The splits asked for, else all that are there but train, which models were trained on; train
    if it is alone."""
    if given := named_splits(dataset, asked):
        return given
    if images.unlabelled:
        raise InputError("give --split: what the images without labels are to be called")
    if images.download:
        open_split(dataset, "test", images.data, download=True)
    there = splits(dataset, images.data)
    return [split for split in there if split != "train"] or there


def open_sources(
    store: Store, dataset: str, splits: Sequence[str], images: ImageOptions
) -> list[Source]:
    """The splits' images, without those that the cache or `--unreadable skip` leaves out."""
    opened = [
        open_split(
            *(dataset, split, images.data, images.download, images.decoder),
            unlabelled=_is_unlabelled(store, dataset, split, images),
        )
        for split in splits
    ]
    how = (images.unreadable, images.workers, say, images.overwrite)
    return [readable(store, source, *how) for source in opened]


def _is_unlabelled(store: Store, dataset: str, split: str, images: ImageOptions) -> bool:
    """Whether it is asked for, or the cache has the split without labels; InputError where it is
    asked for and the cache has it with labels, unless these are to be replaced."""
    place, known = Partition.of("samples", dataset=dataset, split=split), None
    with suppress(DamagedManifestError):  # of which a run makes another
        known = load(store, place)
    if known is None:
        return images.unlabelled
    if images.unlabelled and known.labelled and not images.overwrite:
        raise InputError(
            f"the cache has {dataset}/{split} with labels: leave out --unlabelled, or give these "
            "images another --split"
        )
    return images.unlabelled or not known.labelled
