"""The credit of every answer under a loss, from answers alone or from the outputs they came of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

import cache
from cache import InputError, Manifest, Partition, Store
from stages.scores.losses import Loss
from stages.scores.table import ScoreSet

_EXACT = 2**62  # of sums of squares, so that they stay int64


def with_loss(store: Store, scores: ScoreSet, loss: Loss) -> ScoreSet:
    """The same images, with what each answer earns: minus its loss. InputError where that is not
    known of a model, and where sums over so many images would not be exact."""
    kind = credit_type(loss, len(scores.labels))
    if loss.top is None:
        earned = loss.credits(scores.labels, scores.predictions)
    else:
        rows = range(len(scores.models))
        earned = np.stack([_among(store, scores, m, loss.top) for m in rows]) - 1
    return replace(scores, earned=earned.astype(kind), loss=loss)


def credit_type(loss: Loss, n: int) -> np.dtype:
    """The smallest that holds all differences of credits from −most to 0; sums of n of the smallest
    are to stay within int32. InputError where those of their squares are not exact."""
    most = loss.most
    if n * most**2 >= _EXACT:
        raise InputError(
            f"{loss.name}: losses up to {most} in steps of 1/{loss.scale} have too many digits to "
            f"be summed exactly over {n} images: round them"
        )
    return np.promote_types(np.min_scalar_type(-most - 1), np.int16 if n * most >> 31 else np.int8)


def _among(store: Store, scores: ScoreSet, m: int, k: int) -> np.ndarray:
    """int8 [N]: 1 where the label is one of the model's k most probable classes; of equally
    probable ones the earlier comes first, as in the answer itself."""
    found = np.full(len(scores.labels), -1, np.int8)
    where = scores.manifests[m].partition.logits.values
    for table in ("logits", "probabilities", "top_k"):
        manifest = cache.load(store, Partition(table, where))
        if manifest is not None:
            for ids, right in _ranked(store, manifest, scores, k):
                found[ids] = right
            break
    if (found < 0).any():
        model, split = scores.models[m], f"{scores.dataset}/{scores.split}"
        raise InputError(
            f"the cache does not know the {k} most probable classes of {model} on {split}: extract "
            "it, or import its logits or probabilities"
        )
    return found


def _ranked(
    store: Store, manifest: Manifest, scores: ScoreSet, k: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows of the images intp [n], whether the label is among the k bool [n]) part by part."""
    cache.same_images([manifest, *scores.manifests[:1]])
    for part in cache.iter_parts(store, manifest):
        ids = part.column("sample_id").to_numpy()
        here = np.isin(ids, scores.sample_ids)
        rows = np.searchsorted(scores.sample_ids, ids[here])
        right = _top(part, scores.labels[rows], here, k)
        if right is not None:
            yield rows, right


def _top(part: pa.Table, labels: np.ndarray, here: np.ndarray, k: int) -> np.ndarray | None:
    """bool [n], None where fewer classes are known."""
    if "classes" in part.column_names:
        classes = cache.logits_of(part, "classes")[here]
        return (classes[:, :k] == labels[:, None]).any(axis=1) if classes.shape[1] >= k else None
    name = "logits" if "logits" in part.column_names else "probabilities"
    values, each = cache.logits_of(part, name)[here], np.arange(len(labels))
    if k > values.shape[1]:
        raise InputError(f"--loss top{k}: there are only {values.shape[1]} classes")
    own = values[each, labels][:, None]
    earlier = (values == own) & (np.arange(values.shape[1]) < labels[:, None])
    return ((values > own) | earlier).sum(axis=1) < k


def right_and_credit(baseline: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bool [N], int [N]) of what `ScoreSet.baseline` gives."""
    if baseline.ndim == 1:
        return baseline, baseline.view(np.int8)
    return baseline[0].astype(bool), baseline[1]
