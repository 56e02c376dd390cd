"""Which datasets and layouts there are: those of this package, and those that others add."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from stages.datasets.layout import Layout
from stages.datasets.specs import SPECS, DatasetSpec
from stages.plugins import DATASETS, Extras, extras, misfit

LAYOUTS = {
    "cifar-binary": "stages.datasets.cifar_binary:LAYOUT",
    "idx": "stages.datasets.idx:LAYOUT",
    "parquet": "stages.datasets.parquet:LAYOUT",
    "webdataset": "stages.datasets.webdataset:LAYOUT",
    "image-folder": "stages.datasets.image_folder:LAYOUT",
}
"""Where each is, in the order in which they are tried; those of other packages follow."""


def known() -> dict[str, DatasetSpec]:
    """All named datasets, those of other installed packages last; class names may be missing.

    A package that cannot be used is told.
    """
    return {**SPECS, **_added()}


@lru_cache
def spec(name: str) -> DatasetSpec | None:
    """The named dataset, or None: images in a known layout need no entry here."""
    row = SPECS.get(name) or _added().get(name)
    return _with_classes(row) if row and row.class_file else row


def _added() -> dict[str, DatasetSpec]:
    items = (one.item for one in added().listed().values())
    return {row.name: row for row in items if isinstance(row, DatasetSpec)}


def _with_classes(row: DatasetSpec) -> DatasetSpec:
    text = Path(__file__).with_name(str(row.class_file)).read_text("utf-8")
    lines = [line.split("\t") for line in text.splitlines()]
    names = tuple(line[-1] for line in lines)
    folders = tuple(line[0] for line in lines) if len(lines[0]) > 1 else ()
    return replace(row, class_names=names, class_folders=folders)


def added() -> Extras:
    """What other installed packages add, through the entry point group `cascade.datasets`."""
    taken = {*((False, name) for name in SPECS), *((True, name) for name in LAYOUTS)}
    return extras(DATASETS, DatasetSpec | Layout, "dataset or layout", taken, _unusable, _key)


def _key(item: DatasetSpec | Layout) -> tuple[bool, str]:
    return isinstance(item, Layout), item.name


def _unusable(item: DatasetSpec | Layout) -> str | None:
    return misfit(item) or (item.fault() if isinstance(item, DatasetSpec) else None)
