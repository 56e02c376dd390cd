"""How much a picture may change before a hash no longer knows it: recall and false hits.

A table holds the keys of N pictures, the first of equal keys. Each picture is then asked for in a
changed form: `recall` is the share that finds itself, `false_hit_rate` the share that finds another
picture. What is left finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np

from cache import InputError
from stages.cascade import distinct
from stages.datasets import Source
from stages.hashes.registry import hash_of
from stages.hashes.spec import Hash
from stages.parallel import default_workers, prefetch

Progress = Callable[[int, int], None]
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

_BATCH = 32
_BLOCK = 512


@dataclass(frozen=True)
class Perturbation:
    """A way to change a picture, uint8 [H, W(, 3)], and the kind it belongs to."""

    kind: str
    change: Change


def _turned(turns: int, mirrored: bool, picture: np.ndarray, _: object) -> np.ndarray:
    return np.rot90(picture[:, ::-1] if mirrored else picture, turns)


def _jpeg(quality: int, picture: np.ndarray, _: object) -> np.ndarray:
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, "jpeg", quality=quality)
    return np.asarray(Image.open(stream))


def _noisy(sd: float, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _eight_bit(picture + rng.normal(0.0, sd, picture.shape))


def _shifted(down: int, right: int, picture: np.ndarray, _: object) -> np.ndarray:
    """By whole pixels; the edge that comes free repeats its neighbour."""
    rows = np.clip(np.arange(picture.shape[0]) - down, 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(picture.shape[1]) - right, 0, picture.shape[1] - 1)
    return picture[rows][:, columns]


def _brighter(factor: float, picture: np.ndarray, _: object) -> np.ndarray:
    return _eight_bit(picture * factor)


def _eight_bit(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


_KINDS: Mapping[str, Mapping[str, Change]] = {
    "symmetry": {
        "identity": partial(_turned, 0, False),
        "rot90": partial(_turned, 1, False),
        "rot180": partial(_turned, 2, False),
        "rot270": partial(_turned, 3, False),
        "flip": partial(_turned, 2, True),
        "mirror": partial(_turned, 0, True),
        "transpose": partial(_turned, 1, True),
        "antitranspose": partial(_turned, 3, True),
    },
    "JPEG": {f"quality {q}": partial(_jpeg, q) for q in (95, 90, 75, 50)},
    "noise": {f"σ = {sd}": partial(_noisy, sd) for sd in (1, 2, 5, 10)},
    "shift": {
        "1 px down": partial(_shifted, 1, 0),
        "1 px up": partial(_shifted, -1, 0),
        "1 px right": partial(_shifted, 0, 1),
        "1 px left": partial(_shifted, 0, -1),
    },
    "brightness": {f"× {f:g}": partial(_brighter, f) for f in (0.8, 0.95, 1.05, 1.2)},
}
# By name; the first is the picture itself.
PERTURBATIONS: Mapping[str, Perturbation] = {
    name: Perturbation(kind, change)
    for kind, changes in _KINDS.items()
    for name, change in changes.items()
}


@dataclass(frozen=True)
class HashRecall:
    """Of `n` changed pictures the shares that find themselves and another one.

    `radius` is the largest Hamming distance of a hit.
    """

    dataset: str
    split: str
    algorithm: str
    radius: int
    kind: str
    perturbation: str
    n: int
    recall: float
    false_hit_rate: float


def recall_under_changes(
    source: Source,
    algorithms: Sequence[str],
    limit: int | None = None,
    radii: Sequence[int] = (0,),
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> list[HashRecall]:
    """One row per hash, radius and perturbation, over the first `limit` pictures.

    A hash without a distance has rows of radius 0 only. InputError for an unknown hash and a
    missing package.
    """
    hashes = [hash_of(name) for name in dict.fromkeys(algorithms)]
    for each in hashes:
        each.require()
    if any(radius < 0 for radius in radii):
        raise InputError(f"radius {min(radii)}: give a distance of 0 or more")
    n = len(source) if limit is None else min(limit, len(source))
    spans = [range(start, min(start + _BATCH, n)) for start in range(0, n, _BATCH)]
    found = []
    made = prefetch(partial(_keys, source, hashes, seed), spans, workers or default_workers())
    for part in made:
        found.append(part)
        progress(min(len(found) * _BATCH, n), n)
    keys = {place: np.concatenate([part[place] for part in found]) for place in found[0]}
    first = next(iter(PERTURBATIONS))
    return [
        _row(source, by, radius, name, keys[by.name, first], keys[by.name, name])
        for by in hashes
        for radius in dict.fromkeys(radii)
        if not radius or by.bits
        for name in PERTURBATIONS
    ]


def _keys(
    source: Source, hashes: Sequence[Hash], seed: int, span: range
) -> dict[tuple[str, str], np.ndarray]:
    """The keys of these pictures by hash and perturbation."""
    pictures = [source.read(i) for i in span]
    keys = {}
    for nth, (name, perturbation) in enumerate(PERTURBATIONS.items()):
        changed = [
            perturbation.change(picture, np.random.default_rng([seed, nth, i]))
            for i, picture in zip(span, pictures, strict=True)
        ]
        for by in hashes:
            keys[by.name, name] = by.digest_each(changed)
    return keys


def _row(
    source: Source, by: Hash, radius: int, name: str, stored: np.ndarray, asked: np.ndarray
) -> HashRecall:
    found = look_up(stored, asked, radius)
    itself = found == np.arange(len(found))
    which = (source.dataset, source.split, by.name, radius, PERTURBATIONS[name].kind, name)
    another = float((~itself & (found >= 0)).mean())
    return HashRecall(*which, len(found), float(itself.mean()), another)


def look_up(stored: np.ndarray, asked: np.ndarray, radius: int = 0) -> np.ndarray:
    """For each asked key its row among the stored ones, −1 where there is none: int64 [M].

    Keys are uint8 [N, L] and [M, L]. The nearest within the Hamming distance `radius`, the first of
    equally near ones.
    """
    if radius:
        blocks = [
            _nearest(stored, asked[start : start + _BLOCK], radius)
            for start in range(0, len(asked), _BLOCK)
        ]
        return np.concatenate(blocks)
    unique, codes = distinct(np.concatenate([stored, asked]))
    first = np.full(len(unique), -1)
    backwards = np.arange(len(stored))[::-1]
    first[codes[backwards]] = backwards  # of equal codes the last assignment, the first row, stays
    return first[codes[len(stored) :]]


def _nearest(stored: np.ndarray, asked: np.ndarray, radius: int) -> np.ndarray:
    """With bits as ±1, the product of two keys is the number of equal bits less that of others."""
    signs = [2.0 * np.unpackbits(keys, axis=1).astype(np.float32) - 1 for keys in (stored, asked)]
    agreement = signs[1] @ signs[0].T
    best = agreement.argmax(axis=1)
    distance = (signs[0].shape[1] - agreement[np.arange(len(best)), best]) / 2
    return np.where(distance <= radius, best, -1)
