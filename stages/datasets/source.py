"""What every layout of images comes down to: labelled pictures in one fixed order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cache.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Source(ABC):
    """One split of a dataset: N labelled pictures whose position is their sample id.

    keys: N names of the source images relative to the data root, the same on every machine.
    labels: int32 [N], in 0 … n_classes − 1.
    class_names: one per class, or None where nobody recorded them.
    layout: how the pictures are stored ("parquet", "image-folder", "cifar-binary", …).
    """

    dataset: str
    split: str
    layout: str
    keys: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.labels):
            raise ValueError(f"{len(self.keys)} keys but {len(self.labels)} labels")
        if self.labels.dtype != np.int32 or self.labels.ndim != 1:
            raise ValueError(f"labels are {self.labels.dtype} {self.labels.shape}, not int32 [N]")
        self.labels.flags.writeable = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_classes(self) -> int:
        """The number of class names; without names, one more than the largest label present."""
        if self.class_names is not None:
            return len(self.class_names)
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    @abstractmethod
    def read(self, i: int) -> np.ndarray:
        """Picture i decoded: uint8 [H, W, 3] in RGB, or [H, W] in grey. Safe from many threads.

        Raises InputError, with the file and row and i, when the picture cannot be decoded.
        """


@dataclass(frozen=True, eq=False, kw_only=True)
class ArraySource(Source):
    """Pictures already decoded: uint8 [N, H, W, 3], or [N, H, W] in grey."""

    pictures: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.pictures.shape
        if self.pictures.dtype != np.uint8 or shape[0] != len(self) or shape[3:] not in ((), (3,)):
            raise ValueError(
                f"pictures are {self.pictures.dtype} {shape}, not uint8 [N, H, W(, 3)]"
            )
        self.pictures.flags.writeable = False

    def read(self, i: int) -> np.ndarray:
        return self.pictures[i]


def checked_labels(labels: np.ndarray, n_classes: int | None, where: str) -> np.ndarray:
    """Integer labels [N] as int32; InputError names the first row that is out of range.

    n_classes None leaves only the range of int32.
    """
    limit = np.iinfo(np.int32).max if n_classes is None else n_classes
    bad = (labels < 0) | (labels >= limit)
    if bad.any():
        row = int(bad.argmax())
        known = "" if n_classes is None else f" of the {n_classes} classes"
        raise InputError(
            f"{where}: row {row} has label {labels[row]}, expected 0 to {limit - 1}{known}; "
            "check the labels, or the dataset's name"
        )
    return np.array(labels, dtype=np.int32)
