"""The samples of the splits: written first, and not replaced while a run works on them.

With them stands the digest of each picture. Pictures that were replaced under their names are told
on every run; the cache takes their digests over where no logits are about the old ones, or where it
is told to (`overwrite`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

import cache
from cache import (
    InputError,
    Partition,
    Store,
    digest,
    now,
    samples_table,
    told_unlabelled,
    versions,
)
from stages.datasets import Source, fingerprint
from stages.extract import unusable_parts
from stages.extract.digests import PICTURES, Digests, Recorded, changed
from stages.extract.options import Options


@dataclass(frozen=True)
class SplitDigest:
    """A split's pictures as a run finds them. `digest` is one over all of them, `replaced` says
    whether the cache's samples still stand for others of the same names."""

    source: Source
    digest: str
    replaced: bool


@contextmanager
def kept(store: Store, sources: Sequence[Source], options: Options) -> Iterator[list[SplitDigest]]:
    """The samples of all splits are in the cache, and stay the same until this ends.

    Who would replace them waits for the runs that use them. InputError where the cache knows a
    split with other images, unless they are to be overwritten.
    """
    splits = [Digests(source, options) for source in sources]
    names = [_in_use(source) for source in sources]
    while True:
        for split in splits:
            if _is_to_be_written(store, split, _recorded(store, split.source), options):
                _bring(store, split, options)
        with cache.lock_all(store, names, shared=True, told=options.note):
            pairs = [(split, _recorded(store, split.source)) for split in splits]
            if not any(_is_to_be_written(store, *pair, options) for pair in pairs):
                yield [_seen(store, split, known or [], options) for split, known in pairs]
                return


def tell_stale(store: Store, seen: SplitDigest, options: Options) -> None:
    """Of which models the logits are of other pictures than those that are there."""
    source, models = seen.source, _stale(store, seen)
    if models and not seen.replaced:  # else it was told when the run began
        options.note(
            f"logits of {', '.join(models)} on {source.dataset}/{source.split} are of pictures "
            "that have been replaced since: extract these models again with --overwrite"
        )


def _seen(store: Store, split: Digests, recorded: Recorded, options: Options) -> SplitDigest:
    """Tells of the pictures that have been replaced."""
    source, current = split.source, split.beside(recorded)
    new = changed(current, recorded)
    seen = SplitDigest(source, digest(current), bool(new))
    if new:
        models = ", ".join(_stale(store, seen))
        options.note(
            f"{len(new):,} of {len(source):,} pictures of {source.dataset}/{source.split} have "
            f"been replaced under their names, first {source.keys[new[0]]}: logits of "
            f"{models or 'models'} in the cache are of the old ones; extract with --overwrite to "
            "make them again"
        )
    return seen


def _stale(store: Store, seen: SplitDigest) -> list[str]:
    """The models with logits that are known to be of other pictures."""
    found = cache.find(store, "logits", seen.source.dataset, seen.source.split)
    stale = (each for each in found if each.provenance.get(PICTURES, seen.digest) != seen.digest)
    return list(dict.fromkeys(each.partition.keys["model"] for each in stale))


def _partition(source: Source) -> Partition:
    return Partition.of("samples", dataset=source.dataset, split=source.split)


def _in_use(source: Source) -> str:
    return f"{_partition(source).path}/in-use"


def _identity(source: Source) -> dict[str, object]:
    return {"dataset_fingerprint": fingerprint(source)}


def _recorded(store: Store, source: Source) -> Recorded | None:
    """The digests of the very split, by sample id; None where the cache does not have it sound."""
    found = cache.sound(store, _partition(source), _identity(source))
    if found is None:
        return None
    table = cache.read_table(store, found, ["sample_id", "sha256"]).sort_by("sample_id")
    digests: list[str | None] = table.column("sha256").to_pylist()
    return digests


def _is_to_be_written(
    store: Store, split: Digests, recorded: Recorded | None, options: Options
) -> bool:
    """Whether they, or digests of theirs, are not there, or the pictures are others and no logits
    stand for the old ones."""
    if recorded is None or None in recorded:
        return True
    if options.overwrite:
        return bool(changed(split.all(), recorded))
    return bool(changed(split.beside(recorded), recorded)) and _is_free(store, split.source)


def _is_free(store: Store, source: Source) -> bool:
    """Whether no logits are about the split."""
    return not cache.find(store, "logits", source.dataset, source.split)


def _bring(store: Store, split: Digests, options: Options) -> None:
    """Write the samples, unless another has done so meanwhile."""
    source = split.source
    if not len(source):
        raise InputError(f"{source.dataset}/{source.split} holds no images: check --data")
    with cache.lock(store, _in_use(source), told=options.note):
        recorded = _recorded(store, source)
        if not _is_to_be_written(store, split, recorded, options):
            return
        if recorded is None and source.counts_folders and not options.overwrite:
            _check_classes(store, source)
        current = split.all()
        if recorded is not None and None not in recorded:
            unusable_parts.drop(store, source, changed(current, recorded), options.note)
        _write(store, source, current, options.overwrite or _is_free(store, source))


def _write(store: Store, source: Source, digests: list[str], overwrite: bool) -> None:
    """InputError where logits are about other samples, unless `overwrite`."""
    there = cache.sound(store, _partition(source), _identity(source))
    provenance = {
        "layout": source.layout,
        "class_names": source.class_names,
        "left_out": [list(each) for each in source.left_out],
        **told_unlabelled(source.labels),
        **(there.provenance if there else {}),
        "made": now(),
        "versions": versions(),
        PICTURES: digest(digests),
    }
    ids = np.arange(len(source))
    table = samples_table(ids, source.labels, source.keys, pa.array(digests, pa.string()))
    place, identity = _partition(source), _identity(source)
    cache.write_partition(store, place, table, identity, provenance, overwrite, anew=True)


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
