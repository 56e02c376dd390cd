"""What can be run: a registry of models and one module per architecture family.

Importing this package needs no torch; building or loading a model does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.models.catalogue import listing
from stages.models.choice import Chosen, choose
from stages.models.factory import fuse, instantiate
from stages.models.registry import dataset_of, get, specs
from stages.models.spec import ModelSpec, Published
from stages.models.weights import Weights, available, find, load

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Chosen",
    "ModelSpec",
    "Published",
    "Weights",
    "available",
    "build",
    "choose",
    "dataset_of",
    "find",
    "fuse",
    "get",
    "instantiate",
    "listing",
    "load",
    "specs",
]


def build(name: str, dataset: str | None = None, classes: int | None = None) -> nn.Module:
    """The torch module in eval mode, without trained weights; InputError for an unknown name.

    >>> build("resnet20", dataset="cifar10").fc.out_features
    10
    """
    return instantiate(get(name, dataset), classes)
