"""logits → the scores that packages add, each a table of its own, made when first asked for. Of a
model with probabilities only, their logarithms are taken for logits: the softmax is the same.

So `scores` is what it is without any package, and a reader that knows nothing of one is untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import TypeVar

import numpy as np
import pyarrow as pa

import cache
from cache import (
    EXTRA_SCORES,
    InputError,
    Manifest,
    Partition,
    Provenance,
    Store,
    now,
    one_of,
    versions,
)
from stages.notices import kept_if_writable, sound_or_told
from stages.scores.registry import UnknownScoreError, known, maker, named, values
from stages.scores.spec import LABEL_FREE, Score, is_calibrated

T = TypeVar("T")

TABLE = "extra_scores"
_TINY = np.finfo(np.float32).tiny  # for a probability of 0, which has no logarithm


class Columns(dict[str, np.ndarray]):
    """Scores by name, float64 [M, N]; `make` gives those that are asked for and are not there."""

    def __init__(self, there: Mapping[str, np.ndarray], make: Callable[[str], np.ndarray]) -> None:
        super().__init__(there)
        self._make = make
        self._lock = Lock()  # a search asks from several threads

    def __missing__(self, name: str) -> np.ndarray:
        with self._lock:
            if name not in self:
                self[name] = self._make(name)
        return self[name]

    @classmethod
    def mapped(
        cls, scores: Mapping[str, np.ndarray], change: Callable[[np.ndarray], np.ndarray]
    ) -> Columns:
        """The same scores after `change`, of other images say; what is missing is made first."""
        there = {name: change(values) for name, values in scores.items()}
        return cls(there, lambda name: change(scores[name]))


def named_in(store: Store, name: str) -> Score:
    """`named`, where no confidence counts but those that answers in the cache came with; see
    `by_name_in` for a score that only the cache knows."""

    def there(name: str) -> Score:
        score = named(name)
        others = set() if score.comparable else _confidences(store)
        if score.comparable or name in others:
            return score
        raise UnknownScoreError(str(one_of("score", name, [*known(), *sorted(others)])))

    return by_name_in(store, name, there)


def _confidences(store: Store) -> set[str]:
    """Those of all answers in the cache, and of copies that keep their scores only."""
    found = (each for table in ("answers", "scores") for each in cache.find(store, table))
    return {name for manifest in found for name in manifest.identity.get("confidences", ())}


def by_name_in(store: Store, name: str, by: Callable[[str], T]) -> T:
    """What `by` has of this name; where only the cache knows the score, InputError names the
    package to install."""
    try:
        return by(name)
    except UnknownScoreError as error:
        there = cache.find(store, TABLE)
        made = [one.identity["score"] for one in there if one.partition.keys["score"] == name]
        if not made:
            raise
        raise InputError(
            f"the score {name} comes with the package {made[0]['package']}, which is not "
            f"installed (the cache holds values of its version {made[0]['version']}): install it"
        ) from error


def column(store: Store, scores: Manifest, name: str, sample_ids: np.ndarray) -> np.ndarray:
    """float64 [N]: a package's score of the model whose `scores` these are, by sample id.

    Made from the logits, and kept where the cache can be written; where there are none, the
    values that came with the scores count. InputError where there is neither.
    """
    if is_calibrated(name):
        method, _, score = name[:-1].partition("(")
        raise InputError(f"{name} is made on the way: give --calibrate {method} -s {score}")
    partition = Partition(TABLE, (*scores.partition.values, name))
    about = identity(scores)
    made_by = about | {"score": maker(name)}
    probabilities = Partition("probabilities", partition.logits.values)
    places = (partition, partition.logits, probabilities)
    found, *made_from = (cache.load(store, place) for place in places)
    logits = made_from[0] or made_from[1]
    if (
        found is not None
        and about.items() <= found.identity.items()
        and (logits is None or (found.identity == made_by and sound_or_told(store, found)))
    ):
        return _values(found, cache.read_table(store, found), sample_ids)
    if logits is None:
        raise _missing(partition)
    table = score_table(store, logits, name)
    provenance = {"made": now(), "versions": versions(), "sign": named(name).sign}
    kept_if_writable(
        store, lambda: cache.write_partition(store, partition, table, made_by, provenance)
    )
    return _values(logits, table, sample_ids)


def identity(scores: Manifest) -> Provenance:
    """What values must agree with to belong to these scores: the images and the logits."""
    return {"dataset_fingerprint": scores.fingerprint, "logits": scores.identity.get("logits")}


def stored(store: Store, scores: Manifest) -> list[Manifest]:
    """The values that belong to these scores, of whatever package."""
    about = identity(scores)
    found = cache.find(store, TABLE, *scores.partition.values)
    return [each for each in found if about.items() <= each.identity.items()]


def score_table(store: Store, logits: Manifest, name: str) -> pa.Table:
    """The table of one score of logits or probabilities, rows ordered by sample id."""
    parts = ((ids, values(name, rows)) for ids, rows in _logits(store, logits))
    ids, columns = zip(*parts, strict=True)
    table = pa.table([np.concatenate(ids), np.concatenate(columns)], schema=EXTRA_SCORES)
    return table.sort_by("sample_id")


def _logits(store: Store, outputs: Manifest) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if outputs.partition.table == "logits":
        yield from cache.iter_logits(store, outputs)
        return
    for part in cache.iter_parts(store, outputs):
        p = np.maximum(cache.logits_of(part, "probabilities"), _TINY)
        yield part.column("sample_id").to_numpy(), np.log(p)


def _values(manifest: Manifest, table: pa.Table, sample_ids: np.ndarray) -> np.ndarray:
    if not np.array_equal(table.column("sample_id").to_numpy(), sample_ids):
        raise InputError(f"{manifest.partition} holds other samples than the scores beside it")
    return table.column("value").to_numpy()


def _missing(partition: Partition) -> InputError:
    keys = partition.keys
    own = ", ".join(LABEL_FREE)
    return InputError(
        f"the cache has neither {keys['score']} of {keys['model']} on {keys['dataset']}/"
        f"{keys['split']} nor logits or probabilities to make it from: extract or import them, or "
        f"choose {own}"
    )
