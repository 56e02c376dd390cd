"""What is in the files that logits and labels are imported from."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from stages.ingest import arrays, tables
from stages.ingest.arrays import Array


class Contents(Protocol):
    """What a file holds."""

    def logits(self, name: str | None, label: str | None, classes: Collection[str]) -> Array:
        """The array or the columns called `name`, else all there is but the labels.

        `classes` are the classes' names, where they are known.
        """

    def labels(self, name: str | None) -> Array:
        """The array or the column called `name`, else the only one."""

    def label_name(self, name: str | None, classes: Collection[str]) -> str | None:
        """What the labels beside logits are called: `name` where it is there, else `label`."""


def open_contents(path: str, words: Collection[str] = ()) -> Contents:
    """What a file holds, of which little was read; InputError for one that cannot be read.

    `words` are values; any other word on top of a csv is its header.
    """
    openers: dict[str, Callable[[str], Contents]] = {
        ".npy": arrays.open_npy,
        ".npz": arrays.open_npz,
        ".pt": arrays.open_pt,
        ".csv": partial(tables.read_csv, words=words),
        ".parquet": tables.open_parquet,
    }
    return arrays.opened(path, openers)
