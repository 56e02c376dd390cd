"""What models can be run on: labelled pictures from any layout, in one fixed order.

>>> from stages.datasets import open_split
>>> source = open_split("cifar10", "test", "images")  # doctest: +SKIP
>>> source.read(0).shape, source.labels[0], source.keys[0]  # doctest: +SKIP
((32, 32, 3), 3, 'cifar-10-batches-py/test_batch/domestic_cat_s_000907.png')
"""

from stages.datasets.download import download
from stages.datasets.fingerprint import fingerprint
from stages.datasets.known import spec
from stages.datasets.layout import Found, Layout, Request
from stages.datasets.registry import (
    check_known,
    listing,
    open_split,
    reopened,
    split_name,
    splits,
)
from stages.datasets.source import ArraySource, Opening, Source
from stages.datasets.spec import DatasetSpec
from stages.datasets.unreadable import Unreadable, unreadable

__all__ = [
    "ArraySource",
    "DatasetSpec",
    "Found",
    "Layout",
    "Opening",
    "Request",
    "Source",
    "Unreadable",
    "check_known",
    "download",
    "fingerprint",
    "listing",
    "open_split",
    "reopened",
    "spec",
    "split_name",
    "splits",
    "unreadable",
]
