"""From a dataset's name and a data folder to its splits.

A new way of storing images is one module and one row of `known.LAYOUTS`; a new name one table
of named.json. Other packages add theirs through the entry point group `cascade.datasets`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from cache import InputError, one_of
from stages.datasets import cifar_binary, idx, image_folder
from stages.datasets.archives import download as fetch
from stages.datasets.decode import checked_decoder
from stages.datasets.known import LAYOUTS, added, known, spec
from stages.datasets.layout import Found, Layout, Request, refusing
from stages.datasets.plugged import checked, guarded
from stages.datasets.source import Opening, Source
from stages.datasets.specs import NAME, SPECS, DatasetSpec
from stages.plugins import DATASETS, of_this_project

_FOLDERS = image_folder.LAYOUT
_EMBEDDED = frozenset(row.name for row in SPECS.values() if row.module)


def open_split(
    dataset: str,
    split: str,
    data: str | Path | None = None,
    download: bool = False,
    decoder: str = "pil",
    unlabelled: bool = False,
) -> Source:
    """The images of one split, from the first layout that has it in `data` or `data`/`dataset`.

    A dataset that ships with the package takes no `data`; with `download` a published one is
    fetched into `data` first, unless its archive is there. decoder: "pil" or "torchcodec".
    `unlabelled`: without labels, whether there are any or not; images may then lie in any folders
    of `data`/`split`, or in `data` itself. Raises InputError for a split that is not there, and for
    damaged images, labels or files.
    """
    checked_name("split", split)
    checked_decoder(decoder)
    row = spec(dataset)
    if row is not None and row.module is not None:
        where, source = None, _embedded(row, split, data)
    else:
        root = _root(dataset, data, download)
        where, split = os.path.abspath(root), split_name(dataset, split)
        source = _opened(Request(dataset, split, {}, row, decoder, unlabelled), root)
    opening = Opening(dataset, split, where, decoder, unlabelled=unlabelled)
    return replace(source.without_labels() if unlabelled else source, opening=opening)


def _opened(wanted: Request, root: Path) -> Source:
    """By the first layout that has the split."""
    for layout, request in _requests(wanted.dataset, root):
        # Without labels their folders are no classes.
        if wanted.split in request.found and not (wanted.unlabelled and layout is _FOLDERS):
            with refusing(root, "check that it can be read"):
                source = layout.open(replace(wanted, found=request.found))
                if not len(source):
                    raise InputError(f"{root}: split {wanted.split} has no images; check the path")
                return source
    for place in _places(wanted.dataset, root) if wanted.unlabelled else ():
        with refusing(root, "check that it can be read"):
            found = image_folder.open_unlabelled(wanted, place) if place.is_dir() else None
            if found is not None:
                return found
    raise _not_found(wanted.dataset, wanted.split, root, wanted.unlabelled)


def reopened(opening: Opening) -> Source:
    """The split as it lies there now; equal fingerprints say that nothing has changed.

    Raises InputError as `open_split` does, and for a picture left out that is not there.
    """
    source = open_split(
        *(opening.dataset, opening.split, opening.data),
        decoder=opening.decoder,
        unlabelled=opening.unlabelled,
    )
    return source.without_keys(opening.left_out) if opening.left_out else source


def splits(dataset: str, data: str | Path | None = None) -> list[str]:
    """The splits that are there, sorted; those of an embedded dataset in their own order."""
    row = spec(dataset)
    if row is not None and row.module is not None:
        _no_data(row, data)
        return list(row.splits)
    root = _root(dataset, data, download=False)
    found = {split for _, request in _requests(dataset, root) for split in request.found}
    if not found:
        raise _not_found(dataset, None, root)
    return sorted(found)


def split_name(dataset: str, split: str) -> str:
    """The name under which the dataset's split is kept: "val" for ImageNet's "validation".

    >>> split_name("imagenet", "validation"), split_name("cifar10", "validation")
    ('val', 'validation')
    """
    row = spec(dataset)
    return row.aliases.get(split, split) if row else split


@dataclass(frozen=True)
class ListedDataset:
    """What is known of a dataset, and where it lies; `download` where it can be fetched."""

    name: str
    classes: int
    splits: list[str]
    default_split: str
    height: int | None = None
    width: int | None = None
    download: bool = False
    note: str = ""
    layout: str | None = None
    data: str | None = None


def listing(data: str | Path | None = None) -> list[ListedDataset]:
    """One per known dataset; with `data` also one for what lies there, named after the folder."""
    rows = {name: _described(row) for name, row in known().items()}
    if data is not None:
        there = _lying_there(Path(data))
        rows[there.name] = there
    return list(rows.values())


def check_known(dataset: str, data: str | Path | None) -> None:
    """InputError for a name that nothing is known of, where no images are given either."""
    if not data and dataset not in known():
        added().check()
        raise one_of("dataset", dataset, known(), "cascade datasets")


def checked_name(what: str, name: str) -> str:
    """The name of a dataset or split, unless it could be taken for a path."""
    if not NAME.fullmatch(name) or ".." in name:
        raise InputError(f"{what} {name!a} is no name; use letters, digits, '-', '_' and '.'")
    return name


def _described(row: DatasetSpec) -> ListedDataset:
    layout = "embedded" if row.module else None
    about = (row.name, row.classes, list(row.splits), row.default_split)
    return ListedDataset(*about, *row.size, row.download, row.note, layout)


def _lying_there(data: Path) -> ListedDataset:
    name = data.resolve().stem
    if not NAME.fullmatch(name) or name in _EMBEDDED:
        name = "images"
    found, row = splits(name, data), spec(name)
    source = open_split(name, found[0], data)
    return replace(
        _described(row) if row else ListedDataset(name, 0, [], ""),
        classes=source.n_classes,
        splits=found,
        default_split="test" if "test" in found else found[-1],
        layout=source.layout,
        data=str(data),
    )


def _embedded(row: DatasetSpec, split: str, data: str | Path | None) -> Source:
    _no_data(row, data)
    if split not in row.splits:
        raise one_of(f"{row.name} split", split, row.splits)
    if row.name in SPECS:
        return import_module(str(row.module)).open_split(split)  # type: ignore[no-any-return]
    one, what = added().items[False, row.name], f"its dataset {row.name}"
    with one.blamed(what):
        source = import_module(str(row.module)).open_split(split)
        return checked(one, what, source, row.name, split)


def _no_data(row: DatasetSpec, data: str | Path | None) -> None:
    if data:
        raise InputError(
            f"{row.name} ships with the package, but --data {data} was given"
            + "; leave it out, or give your images another dataset name"
        )


def _root(dataset: str, data: str | Path | None, download: bool) -> Path:
    checked_name("dataset", dataset)
    check_known(dataset, data)
    if not data:
        raise InputError(
            f"no images of {dataset}: give their folder with --data (looked for: {_expected()})"
        )
    root = Path(data)
    if download and not _downloaded(dataset, root):
        fetch(dataset, data)
    with refusing(root, "check the path given with --data"):
        if not root.exists():
            raise InputError(f"--data {data}: no such file or folder; check the path")
    return root


def _downloaded(dataset: str, data: Path) -> bool:
    places = _places(dataset, data)
    return any(part.find(place, dataset) for part in (cifar_binary, idx) for place in places)


def _places(dataset: str, root: Path) -> list[Path]:
    return [root, root / dataset]


def _requests(dataset: str, root: Path) -> Iterator[tuple[Layout, Request]]:
    """What each layout sees, in order; nothing of it is opened yet."""
    with refusing(root, "check that it can be read"):
        for place in filter(Path.exists, _places(dataset, root)):
            for layout in _layouts():
                found = _named(layout.find(place, dataset), spec(dataset))
                yield layout, Request(dataset, "", found, spec(dataset))


@lru_cache
def built_in() -> tuple[Layout, ...]:
    """Those of this package."""
    return tuple(one.item for one in of_this_project(DATASETS, LAYOUTS).values())


def _layouts() -> Iterator[Layout]:
    yield from built_in()
    there = added().listed().values()
    yield from (guarded(one) for one in there if isinstance(one.item, Layout))


def _named(found: Found, row: DatasetSpec | None) -> Found:
    """The splits under the names that the dataset gives them; a name goes before its aliases."""
    aliases = row.aliases if row else {}
    proper = {split: files for split, files in found.items() if NAME.fullmatch(split)}
    renamed = {aliases[split]: files for split, files in proper.items() if split in aliases}
    return {**renamed, **{s: files for s, files in proper.items() if s not in aliases}}


def _not_found(dataset: str, split: str | None, root: Path, unlabelled: bool = False) -> InputError:
    there = sorted({name for _, request in _requests(dataset, root) for name in request.found})
    if split is not None and there:
        return InputError(f"{root}: no split {split!r} of {dataset}; it has {', '.join(there)}")
    if unlabelled:
        return InputError(
            f"{root}: no images of {dataset} in {root}/{split}/, and none in {root} itself; looked "
            f"for {_expected()}; check --data and --split"
        )
    flat = image_folder.unlabelled(root)
    if flat is not None:
        return InputError(
            f"{flat}: its images lie in no class folders, so their classes are unknown; sort "
            f"them into {root}/SPLIT/CLASS/ (docs/datasets.md says how), or run `cascade "
            "extract --unlabelled --split NAME`"
        )
    return InputError(
        f"{root}: no images of {dataset} there or in {dataset}/; looked for {_expected()}; "
        "check --data"
    )


def _expected() -> str:
    return "; ".join(f"{layout.name}: {layout.expects}" for layout in built_in())
