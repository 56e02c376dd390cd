"""The embedded default: the 1,797 real handwritten digits that scikit-learn ships, 8×8 grey.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, doi:10.24432/C50P49 (its test part, as in `sklearn.datasets.load_digits`).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from cache import one_of
from stages.datasets.source import ArraySource

CLASSES = tuple("0123456789")
SPLITS = {"train": slice(0, 797), "val": slice(797, 1297), "test": slice(1297, 1797)}


def open_split(split: str) -> ArraySource:
    """The pictures of "train" (797), "val" (500) or "test" (500), uint8 [8, 8], 0 … 255.

    Keys are `digits/0123`: the position in scikit-learn's order, which is also the order here.
    Raises InputError for any other split.
    """
    chosen = split_indices(split)
    pictures, labels = _pictures_and_labels()
    return ArraySource(
        dataset="digits",
        split=split,
        layout="embedded",
        keys=[f"digits/{i:04d}" for i in chosen],
        labels=labels[chosen],
        class_names=CLASSES,
        pictures=pictures[chosen],
    )


def split_indices(split: str) -> np.ndarray:
    """Ascending positions, int64 [N], of a split's pictures in scikit-learn's order.

    The splits are disjoint and cover everything; each holds every class in proportion (± 1).
    """
    if split not in SPLITS:
        raise one_of("split of digits", split, SPLITS)
    return np.sort(_stratified_order()[SPLITS[split]])


def to_uint8(grey: np.ndarray) -> np.ndarray:
    """scikit-learn's grey values 0 … 16 → uint8 0 … 255, rounded; `(p + 8) // 16` undoes it.

    >>> to_uint8(np.array([0.0, 1.0, 8.0, 16.0])).tolist()
    [0, 16, 128, 255]
    """
    return ((grey.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)


@lru_cache(maxsize=1)
def _pictures_and_labels() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return to_uint8(digits.images), digits.target.astype(np.int32)


def _stratified_order() -> np.ndarray:
    """All positions, int64 [1797], in an order whose every stretch holds each class in proportion.

    The draw within a class is by SHA-256, which, unlike a library's shuffle, never changes.
    """
    labels = _pictures_and_labels()[1]
    place = np.empty(len(labels))
    draw = [hashlib.sha256(f"digits-split-0:{i}".encode()).digest() for i in range(len(labels))]
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label), key=draw.__getitem__)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.array(sorted(range(len(labels)), key=lambda i: (place[i], draw[i])))
