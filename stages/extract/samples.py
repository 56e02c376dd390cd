"""The samples of the splits: written first, and not replaced while a run works on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

import cache
from cache import InputError, Partition, Store
from cache.provenance import now, versions
from cache.schema import samples_table
from stages.datasets import Source, fingerprint

Note = Callable[[str], None]


@contextmanager
def kept(store: Store, sources: Sequence[Source], overwrite: bool, note: Note) -> Iterator[None]:
    """The samples of all splits are in the cache, and stay the same until this ends.

    Who would replace them waits for the runs that use them. InputError where the cache knows a
    split with other images, unless `overwrite`.
    """
    names = [_in_use(source) for source in sources]
    while True:
        for source in sources:
            if not _there(store, source):
                with cache.lock(store, _in_use(source), told=note):
                    _write(store, source, overwrite)
        with cache.lock_all(store, names, shared=True, told=note):
            if all(_there(store, source) for source in sources):
                yield
                return


def _partition(source: Source) -> Partition:
    return Partition.of("samples", dataset=source.dataset, split=source.split)


def _in_use(source: Source) -> str:
    return f"{_partition(source).path}/in-use"


def _identity(source: Source) -> dict[str, object]:
    return {"dataset_fingerprint": fingerprint(source)}


def _there(store: Store, source: Source) -> bool:
    return cache.sound(store, _partition(source), _identity(source)) is not None


def _write(store: Store, source: Source, overwrite: bool) -> None:
    """Samples that no logits are about are replaced in any case."""
    if not len(source):
        raise InputError(f"{source.dataset}/{source.split} holds no images: check --data")
    if source.counts_folders and not overwrite:
        _check_classes(store, source)
    provenance = {
        "made": now(),
        "versions": versions(),
        "layout": source.layout,
        "class_names": source.class_names,
        "left_out": [list(each) for each in source.left_out],
    }
    table = samples_table(np.arange(len(source)), source.labels, source.keys)
    overwrite = overwrite or not cache.find(store, "logits", source.dataset, source.split)
    cache.write_partition(
        store, _partition(source), table, _identity(source), provenance, overwrite
    )


def _check_classes(store: Store, source: Source) -> None:
    """InputError where another split has other classes, so that labels mean other things there."""
    for other in cache.find(store, "samples", source.dataset):
        there, split = other.provenance.get("class_names"), other.partition.keys["split"]
        if there and split != source.split and tuple(there) != source.class_names:
            odd = sorted(set(there) ^ set(source.class_names or ()))
            raise InputError(
                f"{source.dataset}/{source.split} has the class folders "
                f"{_short(source.class_names or ())} but {split} in the cache has {_short(there)} "
                f"(not in both: {_short(odd)}): make an empty folder for a class without images, "
                "or use another --cache"
            )


def _short(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 6 else (*names[:5], f"… ({len(names)})"))
