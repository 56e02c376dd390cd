"""The samples of the splits: written first, and not replaced while a run works on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Partition, Store
from cache.provenance import now, versions
from cache.schema import SAMPLES
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
    columns = {
        "sample_id": np.arange(len(source)),
        "label": source.labels,
        "key": pa.array(list(source.keys), pa.string()),
    }
    provenance = {
        "made": now(),
        "versions": versions(),
        "layout": source.layout,
        "class_names": source.class_names,
        "left_out": [list(each) for each in source.left_out],
    }
    table = pa.table(columns, schema=SAMPLES)
    overwrite = overwrite or not cache.find(store, "logits", source.dataset, source.split)
    cache.write_partition(
        store, _partition(source), table, _identity(source), provenance, overwrite
    )
