"""The requests: which image is shown when, and turned how.

A stream is one table (request, sample_id, variant) in the cache. Simulation and live run read that
very table, so both see the same requests in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

import cache
from cache import STREAMS, InputError, Partition, Store, digest, now, one_of, versions
from stages.datasets import Source
from stages.ingest import Table, open_parquet, opened, read_csv
from stages.notices import kept_if_writable
from stages.runtimes import VARIANTS
from stages.scores import Columns, ScoreSet

ORDERS = ("appended", "shuffled")
IDENTITY = "identity"
_TURNED = tuple(name for name in VARIANTS if name != IDENTITY)
_NAMES = tuple(VARIANTS)


@dataclass(frozen=True)
class Stream:
    """R requests: `sample_ids` int64 [R], `variants` int8 [R], indices into the table VARIANTS."""

    sample_ids: np.ndarray
    variants: np.ndarray

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def used(self) -> list[str]:
        """Names of the variants that occur."""
        return [_NAMES[code] for code in np.unique(self.variants)]

    def of(self, variant: str) -> np.ndarray:
        """bool [R]: the requests that show this variant."""
        return self.variants == _NAMES.index(variant)

    @property
    def seen_before(self) -> np.ndarray:
        """bool [R]: an earlier request showed the same sample, in whatever variant."""
        first = np.full(int(self.sample_ids.max(initial=-1)) + 1, len(self))
        np.minimum.at(first, self.sample_ids, np.arange(len(self)))
        return first[self.sample_ids] < np.arange(len(self))


def make(
    n: int, duplicates: float = 0.0, rotations: float = 0.0, order: str = "appended", seed: int = 0
) -> Stream:
    """Each of n images once, then copies, each turned or mirrored with probability `rotations`.

    There are ⌊duplicates⌋ copies of every image and one of ⌊frac(duplicates)·n⌋ images drawn
    without replacement. `appended` leaves the copies at the end, `shuffled` mixes all requests.
    """
    _check(duplicates, rotations, order)
    rng = np.random.default_rng(seed)
    whole, part = divmod(Decimal(str(duplicates)), 1)  # 2.3 means 23 copies of 10, not 22
    drawn = rng.permutation(n)[: int(part * n)]
    copies = np.concatenate([np.tile(np.arange(n), int(whole)), np.sort(drawn)])
    turned = rng.random(len(copies)) < rotations
    which = np.array([_NAMES.index(name) for name in _TURNED], np.int8)
    variants = np.where(turned, rng.choice(which, len(copies)), _NAMES.index(IDENTITY))
    ids = np.concatenate([np.arange(n), copies]).astype(np.int64)
    codes = np.concatenate([np.full(n, _NAMES.index(IDENTITY)), variants]).astype(np.int8)
    mixed = rng.permutation(len(ids)) if order == "shuffled" else slice(None)
    return Stream(ids[mixed], codes[mixed])


def _check(duplicates: float, rotations: float, order: str) -> None:
    if not 0 <= duplicates <= 1000:
        raise InputError(f"--duplicates {duplicates}: give a number of copies from 0 to 1000")
    if not 0 <= rotations <= 1:
        raise InputError(f"--rotations {rotations}: give a probability from 0 to 1")
    if order not in ORDERS:
        raise one_of("order", order, ORDERS)


def read(path: str, n: int) -> Stream:
    """A user's stream over n images: .csv or .parquet with sample_id, in the order of its rows or
    of `request`, and variants; InputError naming the row that is no request."""
    table = opened(path, {".csv": read_csv, ".parquet": open_parquet})
    if not table.rows:
        raise InputError(f"{path} holds no requests: give a row for each")
    ids = _numbers(table, "sample_id")
    if ids is None:
        raise InputError(f"{path} has no column sample_id: head that of the images so")
    bad = ~((ids >= 0) & (ids < n) & (ids == np.floor(ids)))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{path}: {table.at(row)} has sample_id {ids[row]}, expected a whole number from 0 to "
            f"{n - 1}: number the images of the split from 0"
        )
    order = _numbers(table, "request")
    rows = slice(None) if order is None else order.argsort(kind="stable")
    return Stream(ids.astype(np.int64)[rows], _codes(table)[rows])


def _numbers(table: Table, name: str) -> np.ndarray | None:
    """A column of numbers; None where there is none of that name."""
    k = table.find(name)
    if k is None:
        return None
    [values] = table.columns([k])
    if values.dtype.kind not in "fiu":
        raise InputError(f"{table.path}: column {name} holds {table.kind(k)}: write numbers there")
    if np.isnan(values).any():
        row = int(np.isnan(values).argmax())
        raise InputError(f"{table.path}: {table.at(row)} has {name} nan: write a number there")
    return values


def _codes(table: Table) -> np.ndarray:
    """int8 [R]: the requests' variants, identity where no column tells."""
    k = table.find("variant")
    if k is None:
        return np.full(table.rows, _NAMES.index(IDENTITY), np.int8)
    [names] = table.columns([k])
    for row, name in enumerate(names):
        if name not in VARIANTS:
            raise InputError(f"{table.path}: {table.at(row)}: {one_of('variant', name, VARIANTS)}")
    return np.array([_NAMES.index(name) for name in names], np.int8)


def save(store: Store, scores: ScoreSet, stream: Stream, about: dict[str, Any]) -> str:
    """Write the stream to the cache, unless that cannot be written, and return its name there, a
    digest of its rows."""
    table = pa.table(
        [np.arange(len(stream)), stream.sample_ids, [_NAMES[code] for code in stream.variants]],
        schema=STREAMS,
    )
    rows = digest([stream.sample_ids.tolist(), stream.variants.tolist()])
    partition = Partition.of(
        "streams", dataset=scores.dataset, split=scores.split, stream=rows[:12]
    )
    identity = {"dataset_fingerprint": scores.manifests[0].fingerprint, "rows": rows}
    provenance = {"made": now(), "versions": versions(), "made_by": about}
    kept_if_writable(
        store, lambda: cache.write_partition(store, partition, table, identity, provenance)
    )
    return rows[:12]


def requested(sets: dict[str, ScoreSet], stream: Stream) -> ScoreSet:
    """The scores by request: arrays [M, R] in which column r is what request r would get."""
    first = next(iter(sets.values()))
    places = {name: np.flatnonzero(stream.of(name)) for name in stream.used}
    columns = np.searchsorted(first.sample_ids, stream.sample_ids)

    def gathered(arrays: dict[str, np.ndarray]) -> np.ndarray:
        some = next(iter(arrays.values()))
        out = np.empty((*some.shape[:-1], len(stream)), some.dtype)
        for name, where in places.items():
            out[..., where] = arrays[name][..., columns[where]]
        return out

    def stretched(score: str) -> np.ndarray:
        return gathered({name: each.scores[score] for name, each in sets.items()})

    priced = set.intersection(*(set(each.request_costs) for each in sets.values()))

    return replace(
        first,
        sample_ids=stream.sample_ids,
        labels=gathered({name: each.labels for name, each in sets.items()}),
        predictions=gathered({name: each.predictions for name, each in sets.items()}),
        correct=gathered({name: each.correct for name, each in sets.items()}),
        earned=None
        if first.earned is None
        else gathered({name: each.credit for name, each in sets.items()}),
        scores=Columns({score: stretched(score) for score in first.scores}, stretched),
        manifests=tuple(manifest for each in sets.values() for manifest in each.manifests)[
            : len(first.models)
        ],
        request_costs={
            kind: gathered({name: each.request_costs[kind] for name, each in sets.items()})
            for kind in sorted(priced)
        },
        means={
            models: gathered({name: each.means[models] for name, each in sets.items()})
            for models in first.means
        },
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamSource(Source):
    """A split as the stream shows it: request r is sample `sample_ids[r]`, turned."""

    source: Source
    stream: Stream

    def read(self, i: int) -> np.ndarray:
        """The picture of request i."""
        turn = VARIANTS[_NAMES[self.stream.variants[i]]]
        return turn(self.source.read(int(self.stream.sample_ids[i])))


def shown(source: Source, stream: Stream) -> StreamSource:
    """The source whose images are the stream's requests."""
    return StreamSource(
        dataset=source.dataset,
        split=source.split,
        layout=source.layout,
        keys=[source.keys[i] for i in stream.sample_ids],
        labels=source.labels[stream.sample_ids],
        class_names=source.class_names,
        source=source,
        stream=stream,
    )
