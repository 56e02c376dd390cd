"""A model's logits on one split, part by part and as often as they are asked for.

What works through `Parts` needs memory for one part, however many images and classes there are.
Rows are positions in the split's arrays of N images, so parts may come in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

import cache
from cache import Manifest, Store
from stages.scores.softmax import NonFiniteError, scores_of

Part = tuple[np.ndarray, np.ndarray]  # rows intp [n], logits float32 [n, K]
Parts = Callable[[], Iterable[Part]]  # each call starts another pass

_BLOCK_BYTES = 1 << 18
_END: Part = (np.empty(0, np.intp), np.empty((0, 0), np.float32))


def whole(logits: np.ndarray) -> Parts:
    """Logits [N, K] in memory."""
    return lambda: [(np.arange(len(logits)), logits)]


def cached(store: Store, manifest: Manifest, sample_ids: np.ndarray) -> Parts:
    """The logits of these images; row i is `sample_ids[i]` (int64 [N], ascending)."""

    def parts() -> Iterator[Part]:
        for ids, logits in cache.iter_logits(store, manifest):
            kept = np.isin(ids, sample_ids)
            if not kept.all():
                ids, logits = ids[kept], logits[kept]
            if len(ids):
                yield np.searchsorted(sample_ids, ids), logits

    return parts


def subset(parts: Parts, keep: np.ndarray) -> Parts:
    """The rows where `keep` (bool [N]) holds, numbered anew."""
    position = np.cumsum(keep) - 1

    def kept() -> Iterator[Part]:
        for rows, logits in parts():
            inside = keep[rows]
            yield position[rows[inside]], logits[inside]

    return kept


def blocks(parts: Parts) -> Iterator[Part]:
    """One pass in blocks that stay in the processor's cache."""
    for rows, logits in parts():
        step = max(1, _BLOCK_BYTES // (8 * logits.shape[1]))
        for start in range(0, len(rows), step):
            yield rows[start : start + step], logits[start : start + step]


def scored_block(rows: np.ndarray, logits: np.ndarray) -> dict[str, np.ndarray]:
    """`scores_of` a block; NonFiniteError names the row of the split."""
    try:
        return scores_of(logits)
    except NonFiniteError as error:
        raise NonFiniteError(int(rows[error.row])) from error


def together(a: Parts, b: Parts) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(rows, logits of A, logits of B) in one pass, in blocks; parts may be cut differently.

    ValueError where the two do not hold the same images in the same order.
    """
    theirs = blocks(b)
    rest = _END
    for rows, logits in blocks(a):
        while len(rows):
            others, other = rest if len(rest[0]) else next(theirs, _END)
            n = min(len(rows), len(others))
            if not n or not np.array_equal(rows[:n], others[:n]):
                raise ValueError("the two models' logits are not of the same images in one order")
            yield rows[:n], logits[:n], other[:n]
            rows, logits, rest = rows[n:], logits[n:], (others[n:], other[n:])
    if len(rest[0]) or len(next(theirs, _END)[0]):
        raise ValueError("the second model has logits of images that the first has not")
