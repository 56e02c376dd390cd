"""A torch model as an ONNX file, in float32 or int8, kept under its weights' SHA-256 and made when
first wanted."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from cache import InputError, Provenance, versions_of, write_whole
from stages.datasets import Source, fingerprint
from stages.models import onnx_program
from stages.models.choice import Chosen
from stages.models.onnx_file import facts
from stages.models.spec import ONNX, PROGRAM
from stages.models.weights import SHIPPED, Exported, Weights, digest
from stages.runtimes import INT8, OnnxModel, not_installed

_EXPORTING = ("torch", "onnx", "onnxscript", "onnxruntime")
_QUANTISING = ("onnx", "onnxruntime")
_MADE_BY = ("torch", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Target:
    """What a model is to run on: an engine, in a precision.

    Files are kept in `folder`, where there is one. `size` (height, width) is that of pictures that
    a model takes as they are. `calibrating` opens the images that set the ranges of int8, where
    some are given.
    """

    engine: str
    precision: str = "fp32"
    size: tuple[int, int] | None = None
    folder: Path | None = None
    calibrating: Callable[[], Source] | None = None


def for_engine(one: Chosen, target: Target) -> Chosen:
    """The model as the target runs it; for ONNX Runtime with a file, made where it is not kept yet.

    In int8 the file's SHA-256 is that of the weights, and its calibration's split one that they
    have seen. InputError where the target cannot run it.
    """
    family = one.spec.family
    if target.engine == "torch":
        if family == ONNX:
            raise InputError(f"{one.name} is an ONNX file: give --runtime onnxruntime-fp32-cpu")
        return one
    if family == PROGRAM:
        raise InputError(
            f"{one.name} is a torch.export program, which only torch runs: export the model to "
            "ONNX and give onnx:PATH.onnx"
        )
    if target.precision == INT8:
        return _in_int8(one, target)
    if family == ONNX and facts(one.weights.path).quantised:
        raise InputError(f"{one.name} computes in int8: give --runtime onnxruntime-int8-cpu")
    if target.precision == "fp16" and target.engine == "onnxruntime":
        return _in_fp16(one, target)
    return one if family == ONNX else _in_fp32(one, target)


def _in_fp32(one: Chosen, target: Target) -> Chosen:
    folder, shape = _place(one, target)
    place = folder / f"{_stem(one, shape)}.onnx"
    about = _kept(place, one)
    shipped = SHIPPED / f"{one.spec.name}-{shape[1]}x{shape[2]}.onnx"
    if about is None and (made := _kept(shipped, one)) is not None:
        place, about = shipped, made
    if about is None:
        if None in map(find_spec, _EXPORTING):
            raise not_installed(f"what exports {one.name} to ONNX", "onnx-export")
        from stages.models.onnx_export import export  # torch, which a kept file does without

        about = _keep(one, place, lambda path: export(one, shape, path))
    facts(place)
    return replace(one, weights=replace(one.weights, exported=Exported(place, about)))


def _in_fp16(one: Chosen, target: Target) -> Chosen:
    folder, shape = _place(one, target)
    place = folder / f"{_stem(one, shape)}-fp16.onnx"
    about = _kept(place, one)
    if about is None:
        if None in map(find_spec, _QUANTISING):
            raise not_installed(f"what makes {one.name} half as precise", "onnx-export")
        from stages.models.onnx_fp16 import halve  # onnx, likewise

        file = _float32_file(one, target)
        seen = one.spec.preprocessing
        about = _keep(one, place, lambda path: halve(one.name, file, seen, path))
    facts(place)
    return replace(one, weights=replace(one.weights, exported=Exported(place, about)))


def _float32_file(one: Chosen, target: Target) -> OnnxModel:
    whole = one if one.spec.family == ONNX else _in_fp32(one, target)
    made = whole.weights.exported
    return facts(made.path) if made else onnx_program.load(one.spec, one.weights.path)


def _in_int8(one: Chosen, target: Target) -> Chosen:
    if one.spec.family == ONNX and facts(one.weights.path).quantised:
        return one
    folder, shape = _place(one, target)
    source = target.calibrating() if target.calibrating else None
    if source is None:
        place = _calibrated(one, folder, _stem(one, shape))
    else:
        split = quote(f"{source.dataset}-{source.split}", safe="")
        place = folder / f"{_stem(one, shape)}-int8-{split}.onnx"
    about = _kept(place, one)
    if source is not None and (about is None or not _is_by(about, source)):
        if None in map(find_spec, _QUANTISING):
            raise not_installed(f"what quantises {one.name}", "onnx-export")
        from stages.models.onnx_int8 import CalibrationSet, quantise  # onnx, likewise

        file = _float32_file(one, target)
        by, seen = CalibrationSet(source), one.spec.preprocessing
        about = _keep(one, place, lambda path: quantise(one.name, file, seen, by, path))
    if about is None:
        raise InputError(f"{place} is not what was written: calibrate {one.name} anew")
    facts(place)
    return replace(one, weights=_calibrated_weights(one, Exported(place, about)))


def _calibrated_weights(one: Chosen, exported: Exported) -> Weights:
    by = exported.about["calibration"]
    saw = [by["split"]] if by["dataset"] == one.spec.dataset else []
    splits = tuple(dict.fromkeys([*one.weights.trained_on, *saw]))
    sha256 = exported.about["sha256"]
    return replace(one.weights, sha256=sha256, trained_on=splits, exported=exported)


def _place(one: Chosen, target: Target) -> tuple[Path, tuple[int, int, int]]:
    """The folder of its files, and the shape (C, H, W) of its pictures."""
    size = one.spec.preprocessing.size or target.size
    if one.spec.family == ONNX:
        size = facts(one.weights.path).shape[1:]
    if size is None or target.folder is None:
        what = "a cache in a folder to keep its file" if size else "pictures of a known size"
        raise InputError(f"{one.name} needs {what}: export it yourself and give onnx:PATH.onnx")
    return target.folder, (len(one.spec.preprocessing.mean), *size)


def _stem(one: Chosen, shape: tuple[int, int, int]) -> str:
    return f"{one.weights.sha256}-{shape[1]}x{shape[2]}"


def _calibrated(one: Chosen, folder: Path, stem: str) -> Path:
    """The one int8 file that is kept of the model."""
    found = sorted(folder.glob(f"{stem}-int8-*.onnx"))
    if len(found) == 1:
        return found[0]
    what = "was calibrated on several splits" if found else "is yet to be calibrated"
    raise InputError(
        f"{one.name} in int8 {what}: give `cascade extract` --calibrate-on SPLIT, images that are "
        "neither reported nor fit λ"
    )


def _is_by(about: Provenance, source: Source) -> bool:
    """Whether these images set its ranges."""
    return bool(about["calibration"]["dataset_fingerprint"] == fingerprint(source))


def _keep(one: Chosen, place: Path, write: Callable[[Path], Provenance]) -> Provenance:
    """Write the file, and a JSON beside it of what made it, which is returned; both or neither."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        made = write(path)
        data = path.read_bytes()
        about: Provenance = {
            "architecture": one.spec.name,
            "weights_sha256": one.weights.sha256,
            "sha256": digest(path),
            **made,
            "versions": versions_of(*_MADE_BY),
        }
    place.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(about, indent=2).encode()
    write_whole(
        {
            place: lambda file: file.write(data),
            place.with_suffix(".json"): lambda file: file.write(text),
        }
    )
    return about


def _kept(place: Path, one: Chosen) -> Provenance | None:
    """What is recorded of the file, None where it is not the one that this was written of."""
    try:
        about: Provenance = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        of = (one.spec.name, one.weights.sha256, digest(place))
        same = (about["architecture"], about["weights_sha256"], about["sha256"]) == of
    except (OSError, InputError, ValueError, LookupError, TypeError):
        return None
    return about if same else None
