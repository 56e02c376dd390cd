"""`file:PATH.pt2` and `onnx:PATH.onnx`: models that are their files, each with a JSON that says how
to prepare its pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache import InputError
from stages.models import archive, onnx_file
from stages.models.spec import ONNX, PROGRAM, ModelSpec
from stages.runtimes import OnnxModel, Preprocessing


@dataclass(frozen=True)
class FileKind:
    """Which files, what they are called, the family that loads them, and what reads their facts."""

    prefix: str
    suffix: str
    called: str
    family: str
    facts: Callable[[Path], archive.Facts | OnnxModel]


KINDS = (
    FileKind("file:", ".pt2", "torch.export program", PROGRAM, archive.facts),
    FileKind("onnx:", ".onnx", "ONNX model", ONNX, onnx_file.facts),
)
PREFIXES = tuple(kind.prefix for kind in KINDS)
FAMILIES = {kind.suffix: kind.family for kind in KINDS}
_KEYS = {"preprocessing", "trained_on", "classes", "macs"}


def name_of(reference: str) -> str:
    """The cache's name of `file:PATH.pt2` or `onnx:PATH.onnx`: the file's stem."""
    kind = next(each for each in KINDS if reference.startswith(each.prefix))
    path = Path(reference.removeprefix(kind.prefix))
    if path.suffix != kind.suffix:
        raise InputError(
            f"{reference!r} is no {kind.called}: give {kind.prefix}PATH{kind.suffix}, or for a "
            "state dict NAME=ARCHITECTURE:FILE"
        )
    if "=" in path.stem:
        raise InputError(
            f"{reference!r} cannot be called after its file: give --model NAME={reference}"
        )
    return path.stem


def spec(
    name: str,
    dataset: str,
    path: str | os.PathLike[str],
    preprocess: str | os.PathLike[str] | None = None,
    recorded: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> ModelSpec:
    """The program of a file as a model; needs no torch, executes nothing.

    `preprocess` is a JSON file, by default the one beside the program (nets/a.json for nets/a.pt2):
    `{"preprocessing": {"resize": 256, "crop": 224, "interpolation": "bicubic", "mean": […], "std":
    […]}, "trained_on": ["train"]}`; of the programs' facts only `classes` and `macs` may stand in
    it. Where no such file is, what was `recorded` of these very bytes when they last ran will do.
    Raises InputError where it is missing or does not fit the program.
    """
    program, beside = Path(path), Path(preprocess or Path(path).with_suffix(".json"))
    if not program.is_file():
        raise InputError(f"no file {program} for {name}: check the path")
    before = None if preprocess or beside.is_file() else recorded()
    if before and "preprocessing" in before:
        stated: Mapping[str, object] = {
            key: before[key] for key in ("preprocessing", "macs") if key in before
        }
    else:
        stated = _stated(beside, program)
    kind = next(each for each in KINDS if each.suffix == program.suffix)
    about = kind.facts(program)
    preprocessing = Preprocessing.of(stated.get("preprocessing"), str(beside))
    macs = _check(program, about, preprocessing, stated)
    return ModelSpec(
        name=name,
        dataset=dataset,
        family=kind.family,
        options={},
        classes=about.classes,
        preprocessing=preprocessing,
        parameters=about.parameters,
        macs=macs,
        head="",
    )


def _stated(beside: Path, program: Path) -> Mapping[str, object]:
    if not beside.is_file():
        raise InputError(
            f"{program} says nothing of its preprocessing: write it into "
            f"{program.with_suffix('.json')}, or give --preprocess FILE.json"
        )
    try:
        stated = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{beside} cannot be read as JSON: correct it") from error
    unknown = sorted(set(stated) - _KEYS) if isinstance(stated, dict) else ["no object"]
    if unknown:
        raise InputError(f"{beside} holds {unknown[0]!r}: it may hold {', '.join(sorted(_KEYS))}")
    return stated  # type: ignore[no-any-return]


def _check(
    program: Path,
    about: archive.Facts | OnnxModel,
    preprocessing: Preprocessing,
    stated: Mapping[str, object],
) -> int | None:
    """The multiply-adds that are stated; InputError where something does not fit the program."""
    wanted = (len(preprocessing.mean), *(preprocessing.size or about.shape[1:]))
    if wanted != about.shape:
        raise InputError(
            f"{program} takes pictures of {_by(about.shape)} but its preprocessing gives "
            f"{_by(wanted)}: correct the one or the other"
        )
    if stated.get("classes", about.classes) != about.classes:
        raise InputError(
            f"{program} gives {about.classes} classes but its JSON says {stated['classes']}: "
            "correct it"
        )
    macs = stated.get("macs")
    if macs is not None and (not isinstance(macs, int) or not 0 <= macs <= 10**18):
        raise InputError(f"macs {macs!r} of {program} is no count: correct its JSON")
    return macs


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
