"""The idx files of MNIST and its successors, plain or gzipped: 28×28 grey pictures, uint8.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", http://yann.lecun.com/exdb/mnist/
(format); H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", https://arxiv.org/abs/1708.07747.
Keys are FILE#ROW, with the file's published name.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from cache import InputError
from stages.datasets.layout import Found, Layout, Request, refusing
from stages.datasets.source import ArraySource, checked_labels
from stages.datasets.specs import SPECS

OWN = "fashionmnist"
PREFIXES = {"train": "train", "test": "t10k"}
PLACES = ("", "raw", "FashionMNIST/raw")
HINT = "write or fetch it again"
DAMAGE = (OSError, ValueError, EOFError, zlib.error)
MAX_BYTES = 1 << 32
_BLOCK = 1 << 24


def find(data: Path, dataset: str) -> Found:
    """The files of images and labels of each split, where both are there.

    They do not say whose they are, so they are no other known dataset's than FashionMNIST's.
    """
    if dataset in SPECS and dataset != OWN:
        return {}
    found: dict[str, tuple[Path, ...]] = {}
    for place in (data / name for name in PLACES):
        for split, prefix in PREFIXES.items():
            names = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
            files = tuple(path for name in names if (path := _either(place / name)))
            if len(files) == len(names):
                found.setdefault(split, files)
    return found


def open_idx(request: Request) -> ArraySource:
    """A whole split in memory: 47 MB per 60,000 pictures."""
    images, labels = request.found[request.split]
    shape, counted = _shape(images, dimensions=3), _shape(labels, dimensions=1)
    if shape[0] != counted[0]:
        raise InputError(f"{images}: {shape[0]:,} pictures, {counted[0]:,} labels; {HINT}")
    pictures, classes = _array(images, shape), _array(labels, counted)
    known = request.spec
    return ArraySource(
        dataset=request.dataset,
        split=request.split,
        layout=LAYOUT.name,
        keys=[f"{images.name.removesuffix('.gz')}#{row}" for row in range(len(pictures))],
        labels=checked_labels(classes, known.classes if known else None, str(labels)),
        class_names=known.class_names if known else None,
        pictures=pictures,
    )


def _either(path: Path) -> Path | None:
    """The plain file, or the gzipped one."""
    both = (path, path.with_name(f"{path.name}.gz"))
    return next((file for file in both if file.is_file()), None)


def _shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """What the header says, which must be of as many dimensions of bytes as asked for."""
    with refusing(path, HINT, DAMAGE), _open(path) as file:
        head = file.read(_header(dimensions))
        # Two zero bytes, 8 for "unsigned byte", the number of dimensions.
        if head[:4] != bytes([0, 0, 8, dimensions]) or len(head) != _header(dimensions):
            raise ValueError(f"no idx file of {dimensions} dimensions of bytes")
        shape = struct.unpack(f">{dimensions}I", head[4:])
        if prod(shape) > MAX_BYTES:
            raise ValueError(f"claims {prod(shape)} bytes")
        return shape


def _array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 of this shape; memory is taken for what is there, not for what the header claims."""
    size = prod(shape)
    with refusing(path, HINT, DAMAGE), _open(path) as file:
        file.read(_header(len(shape)))
        data = bytearray()
        while block := file.read(min(_BLOCK, size + 1 - len(data))):
            data += block
        if len(data) != size:
            raise ValueError(f"its header says {size} bytes, its content is of another length")
        return np.frombuffer(data, np.uint8).reshape(shape)


def _header(dimensions: int) -> int:
    """Its length in bytes."""
    return 4 + 4 * dimensions


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb"))


LAYOUT = Layout(
    name="idx",
    expects="train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-… (.gz, also in "
    "FashionMNIST/raw)",
    find=find,
    open=open_idx,
)
