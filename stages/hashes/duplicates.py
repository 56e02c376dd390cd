"""Which images of a split repeat others: told by the pictures' digests where the cache has them.

A published copy has neither digests nor names; its samples say which rows repeat.
"""

from __future__ import annotations

from collections.abc import Sequence

import cache
from cache import Manifest, Partition, Store
from stages.scores import ScoreSet

# In the provenance of samples: groups of the ids of one picture.
REPEATS = "repeats"
# Keys that two pictures share only where one is the other, however turned.
_SAME = "invariants"


def image_keys(store: Store, scores: ScoreSet) -> Sequence[object]:
    """What tells the images apart: digests of the pictures where the cache has them, else keys."""
    keys = _keys(store, scores.dataset, scores.split, scores.manifests)
    if keys is None:
        return range(len(scores.labels))
    return [keys[sample] for sample in scores.sample_ids.tolist()]


def repeats(store: Store, samples: Manifest) -> list[list[int]]:
    """The ids of each picture that is there more than once, ascending."""
    where = samples.partition.keys
    groups: dict[object, list[int]] = {}
    for sample, key in (_keys(store, where["dataset"], where["split"], [samples]) or {}).items():
        groups.setdefault(key, []).append(sample)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _keys(
    store: Store, dataset: str, split: str, beside: Sequence[Manifest]
) -> dict[int, object] | None:
    """By sample id, of the very images of the partitions `beside`; None where none are known."""
    where = {"dataset": dataset, "split": split}
    hashed = Partition.of("hashes", **where, variant="identity", algorithm=_SAME)
    manifest, column = cache.load(store, hashed), "hash"
    if manifest is None:
        manifest, column = cache.load(store, Partition.of("samples", **where)), "key"
    if manifest is None:
        return None
    cache.same_images([manifest, *beside])
    table = cache.read_table(store, manifest, ["sample_id", column])
    keys = dict(zip(table["sample_id"].to_pylist(), table[column].to_pylist(), strict=True))
    for group in manifest.provenance.get(REPEATS, ()):
        keys |= dict.fromkeys(group, keys[group[0]])
    return keys
