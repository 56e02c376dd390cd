"""Models by reference: torchvision's `ARCHITECTURE@WEIGHTS` and timm's `timm/NAME`.

What a reference means is asked of the library, so resolving one needs it installed; telling a
reference from a plain name does not.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from cache import InputError
from stages.models.spec import ModelSpec
from stages.models.tables import IMAGENET

TIMM = "timm/"
HOME = "imagenet"
"""The dataset that every referenced model is for, unless the user says otherwise."""

# What else torchvision has, resolved by torchvision itself when it is asked for.
OTHERS = frozenset(Path(__file__).with_name("torchvision.txt").read_text("utf-8").split())
NAMES = OTHERS | {spec.name for spec in IMAGENET}


def is_reference(name: str) -> bool:
    """Whether a library, not a table, knows the model."""
    architecture, at, _ = name.partition("@")
    if name.startswith(TIMM):
        return True
    return architecture in NAMES if at else name in OTHERS


def resolve(name: str) -> ModelSpec:
    """The referenced model on `HOME`; InputError for what the library does not have or offer."""
    library, extra, module = "torchvision", "extract", "torchvision_imagenet"
    if name.startswith(TIMM):
        library, extra, module = "timm", "timm", "timm_model"
    if find_spec(library) is None or find_spec("torch") is None:
        raise InputError(f"{name} needs {library}: run pip install 'cascade-cli[{extra}]'")
    spec: ModelSpec = import_module(f"stages.models.{module}").spec(name)
    return spec
