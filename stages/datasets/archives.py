"""Fetches the published archives, through torchvision, which checks their MD5."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

from cache import InputError
from stages.datasets.layout import needing, refusing


def download(dataset: str, data: str | Path) -> None:
    """Put the dataset's original archive into the folder `data`, unless it is there already.

    Raises InputError for a dataset without a downloader, and where torchvision is not installed,
    the network does not answer, or what came is not what was published.
    """
    if dataset not in DOWNLOADERS:
        raise InputError(
            f"{dataset} has no download; known are {', '.join(DOWNLOADERS)}; "
            "fetch its files by hand (docs/datasets.md says where from) and give --data"
        )
    from http.client import HTTPException
    from tarfile import TarError

    kinds = (OSError, RuntimeError, ValueError, EOFError, HTTPException, TarError)
    where = f"downloading {dataset} to {data}"
    hint = "check the network and the folder, or fetch it by hand and give --data"
    with refusing(where, hint, kinds), redirect_stdout(sys.stderr):
        DOWNLOADERS[dataset](str(data))


def _fetch(name: str, root: str) -> None:
    """By the class of this name in torchvision.datasets."""
    with needing("--download needs torchvision", "extract"):
        from torchvision import datasets
    getattr(datasets, name)(root, download=True)


DOWNLOADERS: dict[str, Callable[[str], None]] = {
    "cifar10": partial(_fetch, "CIFAR10"),
    "cifar100": partial(_fetch, "CIFAR100"),
    "fashionmnist": partial(_fetch, "FashionMNIST"),
}
