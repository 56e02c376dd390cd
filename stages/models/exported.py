"""A torch model as an ONNX file, kept under its weights' SHA-256 and made when first wanted."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from cache import InputError, Provenance
from stages.models.choice import Chosen
from stages.models.onnx_file import facts
from stages.models.spec import ONNX, PROGRAM
from stages.models.weights import Exported, digest
from stages.runtimes import not_installed

_EXPORTING = ("torch", "onnx", "onnxscript", "onnxruntime")


def for_engine(
    one: Chosen, engine: str, size: tuple[int, int] | None, folder: Path | None
) -> Chosen:
    """The model as the engine runs it; for ONNX Runtime with the file that is kept in `folder`,
    exported where it is not there yet. `size` (height, width) is that of pictures that the model
    takes as they are.

    InputError where the engine cannot run it.
    """
    family = one.spec.family
    if (family == ONNX) == (engine == "onnxruntime"):
        return one
    if family == ONNX:
        raise InputError(f"{one.name} is an ONNX file: give --runtime onnxruntime-fp32-cpu")
    if family == PROGRAM:
        raise InputError(
            f"{one.name} is a torch.export program, which only torch runs: export the model to "
            "ONNX and give onnx:PATH.onnx"
        )
    size = one.spec.preprocessing.size or size
    if size is None or folder is None:
        what = "a cache in a folder to keep its export" if size else "pictures of a known size"
        raise InputError(f"{one.name} needs {what}: export it yourself and give onnx:PATH.onnx")
    place = folder / f"{one.weights.sha256}-{size[0]}x{size[1]}.onnx"
    about = _kept(place, one.spec.name)
    if about is None:
        if None in map(find_spec, _EXPORTING):
            raise not_installed(f"what exports {one.name} to ONNX", "onnx-export")
        from stages.models.onnx_export import export  # torch, which a kept file does without

        about = export(one, (len(one.spec.preprocessing.mean), *size), place)
    exported = Exported(place, about)
    facts(place)
    return replace(one, weights=replace(one.weights, exported=exported))


def _kept(place: Path, architecture: str) -> Provenance | None:
    """What is recorded of the file, None where it is not the one that this was written of."""
    try:
        about: Provenance = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        same = about["architecture"] == architecture and about["sha256"] == digest(place)
    except (OSError, InputError, ValueError, LookupError, TypeError):
        return None
    return about if same else None
