"""What is known of a model without building it: plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stages.runtimes import Preprocessing

PROGRAM, ONNX = "program", "onnx_program"
"""The families of models that are their files: a torch.export program, and an ONNX model."""


@dataclass(frozen=True)
class Published:
    """Weights that their authors published, and what they say of them.

    `top1` is a fraction, `macs` their own count of multiply-adds per image, `sha256_prefix` the
    start of the file's hex digest, `source` the project's page.
    """

    top1: float
    url: str
    sha256_prefix: str
    macs: int | None
    source: str

    @property
    def file_name(self) -> str:
        """The last part of the address: the name in torch.hub's store."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class ModelSpec:
    """One architecture for one dataset.

    `family` names the module `stages.models.FAMILY`, or any module by its full name, whose
    `build(classes, **options)` returns the torch module in eval mode without trained weights. It
    may have `adapt(state, **options)`, which gives a file's tensors the names of the model's;
    `load(spec, path)`, which reads a file in its own way; `fuse(model)`, the deploy form, where
    `fusible`; and `fetch(download, **options)`, the published file's path, where `fetches`.

    `head` is the state-dict tensor whose dimension 0 is the class count. `parameters` and `macs`
    (multiply-adds of one image in convolutions and matrix products) are for `classes` classes,
    None where unknown. `shipped` is a file name under `stages/models/shipped/`. `trained_on` names
    splits of `dataset` that the published or shipped weights have seen, and `shipped_top1` is the
    fraction of its test split that the shipped ones get right.
    """

    name: str
    dataset: str
    family: str
    options: Mapping[str, Any] = field(hash=False)
    classes: int
    preprocessing: Preprocessing
    parameters: int | None
    macs: int | None
    head: str
    published: Published | None = None
    shipped: str | None = None
    trained_on: tuple[str, ...] = ("train",)
    fusible: bool = False
    shipped_top1: float | None = None
    fetches: bool = False

    @property
    def top1(self) -> float | None:
        """The fraction right that is stated for the published or shipped weights."""
        return self.published.top1 if self.published else self.shipped_top1
