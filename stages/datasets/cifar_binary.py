"""The original archives of CIFAR-10 and -100: a folder of pickled batches, 3,072 bytes a picture.

Source: Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html ("python version").
Keys are ARCHIVE/BATCH/FILE NAME IN THE BATCH, whatever the folder is called here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from cache import InputError, read_bytes
from stages.datasets.layout import Found, Layout, Request, refusing
from stages.datasets.source import ArraySource, checked_labels
from stages.datasets.specs import SPECS
from stages.datasets.unpickle import as_text, load_batch

HINT = "unpack the archive again, or fetch it with --download"
MAX_BYTES = 1 << 30


@dataclass(frozen=True)
class Archive:
    """One published archive: the files of each split, and where labels and names stand.

    labels: their key in a batch. names: that of the classes' names in the file `meta`.
    """

    folder: str
    classes: int
    splits: Mapping[str, tuple[str, ...]]
    labels: str
    meta: str
    names: str


BATCHES = tuple(f"data_batch_{n}" for n in range(1, 6))
ARCHIVES = {
    "cifar10": Archive(
        "cifar-10-batches-py",
        10,
        {"train": BATCHES, "test": ("test_batch",)},
        labels="labels",
        meta="batches.meta",
        names="label_names",
    ),
    "cifar100": Archive(
        "cifar-100-python",
        100,
        {"train": ("train",), "test": ("test",)},
        labels="fine_labels",
        meta="meta",
        names="fine_label_names",
    ),
}


def find(data: Path, dataset: str) -> Found:
    """The splits of the dataset's own archive in `data`, or of one that `data` itself is.

    For a dataset of a name that is not known here, any archive's.
    """
    own = [row for name, row in ARCHIVES.items() if name == dataset or dataset not in SPECS]
    found: dict[str, tuple[Path, ...]] = {}
    for archive in own:
        for folder in (data / archive.folder, data):
            # Files called "train" and "test" mean nothing without the rest of their archive.
            if folder.name != archive.folder and not (folder / archive.meta).is_file():
                continue
            for split, files in archive.splits.items():
                paths = tuple(folder / file for file in files)
                if any(path.is_file() for path in paths):
                    found.setdefault(split, paths)
    return found


def open_archive(request: Request) -> ArraySource:
    """A whole split in memory: 30 MB per 10,000 pictures."""
    paths = request.found[request.split]
    archive = next(a for a in ARCHIVES.values() if paths[0].name in chain(*a.splits.values()))
    batches = [_read(archive, path) for path in paths]
    pictures, labels, keys = zip(*batches, strict=True)
    return ArraySource(
        dataset=request.dataset,
        split=request.split,
        layout=LAYOUT.name,
        keys=list(chain(*keys)),
        labels=np.concatenate(labels),
        class_names=_class_names(archive, paths[0].parent, request),
        pictures=np.concatenate(pictures),
    )


def _read(archive: Archive, path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """One batch: pictures uint8 [n, 32, 32, 3], labels int32 [n], n keys."""
    # A damaged pickle may raise anything while it is taken apart.
    with refusing(f"{path} is no intact batch", HINT, Exception):
        if not path.is_file():
            raise InputError(f"{path}: this batch is missing; {HINT}")
        batch = load_batch(read_bytes(path, MAX_BYTES))
        pixels, labels = batch["data"], np.asarray(batch[archive.labels])
        n = len(labels)
        if isinstance(pixels, np.ndarray) and pixels.ndim == 2 and len(pixels) != n:
            raise InputError(f"{path}: {len(pixels):,} pictures, {n:,} labels; {HINT}")
        if not isinstance(pixels, np.ndarray) or pixels.shape != (n, 3072):
            shape = getattr(pixels, "shape", type(pixels).__name__)
            raise InputError(f"{path}: data is {shape}, expected ({n}, 3072); {HINT}")
        if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"{path}: its labels are not a list of integers; {HINT}")
        # Planes of red, green and blue; read() hands out a view of them.
        pictures = pixels.reshape(n, 3, 32, 32).transpose(0, 2, 3, 1)
        names = batch.get("filenames", [str(row) for row in range(n)])
        if len(names) != n:
            raise InputError(f"{path}: {len(names)} names for {n} labels; {HINT}")
        keys = [f"{archive.folder}/{path.name}/{as_text(name)}" for name in names]
        return pictures, checked_labels(labels, archive.classes, str(path)), keys


def _class_names(archive: Archive, folder: Path, request: Request) -> tuple[str, ...] | None:
    path = folder / archive.meta
    if request.spec is not None or not path.is_file():
        return request.spec.class_names if request.spec else None
    with refusing(path, HINT, Exception):
        meta = load_batch(read_bytes(path, MAX_BYTES))
        names = tuple(as_text(name) for name in meta[archive.names])
        if len(names) != archive.classes:
            raise InputError(f"{path}: {len(names)} class names, not {archive.classes}; {HINT}")
        return names


LAYOUT = Layout(
    name="cifar-binary",
    expects=" or ".join(f"{archive.folder}/" for archive in ARCHIVES.values()),
    find=find,
    open=open_archive,
)
