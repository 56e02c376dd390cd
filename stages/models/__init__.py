"""What can be run: a registry of models and one module per architecture family.

Importing this package needs no torch; building or loading a model does.
"""

from stages.models.catalogue import listing
from stages.models.choice import Chosen, choose
from stages.models.factory import fuse, instantiate
from stages.models.registry import build, dataset_of, get, specs
from stages.models.spec import ModelSpec, Published
from stages.models.weights import Weights, available, find, load

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
