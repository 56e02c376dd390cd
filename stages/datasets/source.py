"""What every layout of images comes down to: labelled pictures in one fixed order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from cache import UNLABELLED, InputError, fingerprint_of, unlabelled

Kind = TypeVar("Kind", bound="Source")


@dataclass(frozen=True)
class Opening:
    """How to open the same pictures again, in another process or on another machine.

    The arguments of `open_split`, and what was left out since; small, and made to be pickled.
    data: an absolute path, or None for a dataset that needs none. left_out: (key, reason) pairs.
    unlabelled: without labels, whether there are any or not.
    """

    dataset: str
    split: str
    data: str | None
    decoder: str
    left_out: tuple[tuple[str, str], ...] = ()
    unlabelled: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Source(ABC):
    """One split of a dataset: N labelled pictures whose position is their sample id.

    keys: N names of the source images relative to the data root, the same on every machine.
    labels: int32 [N], in 0 … n_classes − 1; all −1 where nobody knows them.
    class_names: one per class, or None where nobody recorded them.
    layout: how the pictures are stored ("parquet", "image-folder", "cifar-binary", …).
    decoder: what decodes them ("pil", "torchcodec"), or None where they are stored as pixels.
    opening: how to open the same again elsewhere, or None for a source made by hand.
    left_out: (key, reason) of the pictures that were there and have no sample id here.
    counts_folders: whether labels are but positions among the class folders that are there.
    """

    dataset: str
    split: str
    layout: str
    keys: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...] | None = None
    decoder: str | None = None
    opening: Opening | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    counts_folders: bool = False

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.labels):
            raise ValueError(f"{len(self.keys)} keys, {len(self.labels)} labels")
        if self.labels.dtype != np.int32 or self.labels.ndim != 1:
            raise ValueError(f"labels are {self.labels.dtype} {self.labels.shape}, not int32 [N]")
        self.labels.flags.writeable = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> bool:
        """Whether the labels are known. InputError where some are."""
        return not unlabelled(self.labels)

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

    def stored(self, i: int) -> bytes:
        """Picture i as it is stored, not decoded: what tells it from another under its name.

        Its pixels where nothing else is known of it. Raises InputError as `read` does.
        """
        return self.read(i).tobytes()

    def without_labels(self: Kind) -> Kind:
        """The same pictures, of which nobody knows the labels; what folders are called is no class
        then."""
        names = None if self.counts_folders else self.class_names
        labels = np.full(len(self), UNLABELLED, np.int32)
        return replace(self, labels=labels, class_names=names, counts_folders=False)

    def seen_as(self, kind: type[Kind], **changes: Any) -> Kind:
        """A source of another kind that says of itself what this one does, but for `changes`."""
        said = {field.name: getattr(self, field.name) for field in fields(Source)}
        return kind(**{**said, **changes})

    def without(self, reasons: Mapping[int, str]) -> Source:
        """The pictures but those at these positions, each with the reason to leave it out.

        Sample ids are then the positions among the rest. Raises InputError if none would be left.
        """
        if not reasons:
            return self
        rest = np.array([i for i in range(len(self)) if i not in reasons], np.int64)
        if not len(rest):
            raise InputError(
                f"{self.dataset} {self.split}: no picture is left; the first is left out because "
                f"{reasons[0]}"
            )
        left_out = (*self.left_out, *((self.keys[i], reasons[i]) for i in sorted(reasons)))
        return self.seen_as(
            RestSource,
            keys=[self.keys[i] for i in rest.tolist()],
            labels=self.labels[rest],
            opening=self.opening and replace(self.opening, left_out=left_out),
            left_out=left_out,
            whole=self,
            positions=rest,
        )

    def without_keys(self, left_out: Iterable[tuple[str, str]]) -> Source:
        """`without`, from the (key, reason) pairs of an earlier `left_out`.

        Raises InputError for a key that is not there: the images are not those of that time.
        """
        reasons = dict(left_out)
        found = {i: reasons[key] for i, key in enumerate(self.keys) if key in reasons}
        for key in reasons.keys() - {self.keys[i] for i in found}:
            raise InputError(
                f"{self.dataset} {self.split}: {key!a}, to be left out, is not among its "
                f"{len(self)} images; give the images that the cache was made from"
            )
        return self.without(found)


@dataclass(frozen=True, eq=False, kw_only=True)
class RestSource(Source):
    """A view of some pictures of another source. positions: int64 [N], ascending, in `whole`."""

    whole: Source
    positions: np.ndarray

    def read(self, i: int) -> np.ndarray:
        if not 0 <= i < len(self):
            raise IndexError(i)
        return self.whole.read(int(self.positions[i]))

    def stored(self, i: int) -> bytes:
        return self.whole.stored(int(self.positions[i]))


@dataclass(frozen=True, eq=False, kw_only=True)
class ArraySource(Source):
    """Pictures already decoded: uint8 [N, H, W, 3], or [N, H, W] in grey."""

    pictures: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.pictures.shape
        if shape[:1] != (len(self),):
            raise ValueError(f"{shape[0] if shape else 0:,} pictures, {len(self):,} labels")
        if self.pictures.dtype != np.uint8 or len(shape) < 3 or shape[3:] not in ((), (3,)):
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
        none = " (all are so: without labels, run `cascade extract --unlabelled`)"
        raise InputError(
            f"{where}: row {row} has label {labels[row]}, expected 0 to {limit - 1}{known}; "
            f"check the labels, or the dataset's name{none if (labels == UNLABELLED).all() else ''}"
        )
    return np.array(labels, dtype=np.int32)


_FINGERPRINTS: WeakKeyDictionary[Source, str] = WeakKeyDictionary()


def fingerprint(source: Source) -> str:
    """SHA-256 over ids, labels and keys, in hexadecimal: see cache.fingerprint."""
    if source not in _FINGERPRINTS:  # a run asks for each of its models
        _FINGERPRINTS[source] = fingerprint_of(source.labels, source.keys)
    return _FINGERPRINTS[source]
