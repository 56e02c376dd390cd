"""What is to be imported: one model's outputs on one split, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass

from cache import InputError, Partition

RUNTIME = "import"


@dataclass(frozen=True)
class ImportRequest:
    """`file`, `labels` and `class_names` are files; the first holds outputs of this `kind`, or what
    it holds is to be told by it where that is "". Labels are counted from `labels_from`, or else
    what they are counted from is told by them.

    `logits_column` and `label_column` say what they are called in a file that holds more: an array
    of an npz, a column of lists, the beginning of the classes' columns. Without labels in either
    file the split must be in the cache already. `keys` are those of its images, where they have
    any.
    """

    dataset: str
    split: str
    model: str
    file: str
    labels: str | None = None
    trained_on: tuple[str, ...] = ("train",)
    trained_on_source: str = "assumed"
    macs: int | None = None
    overwrite: bool = False
    class_names: str | None = None
    logits_column: str | None = None
    label_column: str | None = None
    kind: str = "logits"
    labels_from: int | None = None
    keys: tuple[str, ...] | None = None
    unlabelled: bool = False

    @property
    def digest(self) -> str:
        """What the digest of the outputs is called in their manifest's identity."""
        return f"{self.kind}_sha256"

    @property
    def samples(self) -> Partition:
        """Where the split's labels are in the cache."""
        return Partition.of("samples", dataset=self.dataset, split=self.split)


def named(split: str | None) -> str:
    """InputError where nothing names the split."""
    if split is None:
        raise InputError("give --split: the split that the images are of")
    return split
