"""A model in one of several runtimes, as a candidate: `resnet20@onnxruntime-int8-cpu`.

>>> candidate("resnet20", "torch-fp32-cpu")
'resnet20@torch-fp32-cpu'
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cache import InputError, Manifest, one_of

_RUNTIME = re.compile(r"[a-z]+-[a-z]+\d+-[a-z]+")  # engine, precision, kind of device
Held = Mapping[str, Sequence[Manifest]]
"""Model → its partitions, one per runtime."""


def candidate(model: str, runtime: str) -> str:
    return f"{model}@{runtime}"


def model_in(name: str) -> tuple[str, str | None]:
    """The model and the runtime that a candidate names; of another name itself.

    >>> model_in("resnet20@onnxruntime-int8-cpu")
    ('resnet20', 'onnxruntime-int8-cpu')
    >>> model_in("resnet50@IMAGENET1K_V2")
    ('resnet50@IMAGENET1K_V2', None)
    """
    model, _, runtime = name.rpartition("@")
    return (model, runtime) if model and _RUNTIME.fullmatch(runtime) else (name, None)


def in_runtime(name: str, found: Held) -> tuple[str, str | None]:
    """The same where the cache tells: a model of that very name comes first, and a runtime may be
    called anything."""
    model, at, runtime = name.rpartition("@")
    if name in found:
        return name, None
    return (model, runtime) if at and model in found else model_in(name)


def partitions_of(name: str, found: Held) -> list[Manifest]:
    """Of a model in all its runtimes, of a candidate in its own; none where it is not there."""
    model, runtime = in_runtime(name, found)
    here = found.get(model, ())
    return [each for each in here if runtime in (None, each.partition.keys["runtime"])]


def all_candidates(found: Held, models: Sequence[str] | None, runtimes: Sequence[str]) -> list[str]:
    """The models, by default all, in each of the runtimes that there are of them; all of `all`.

    InputError for a runtime that no model has.
    """
    there = sorted({each.partition.keys["runtime"] for of in found.values() for each in of})
    for runtime in runtimes:
        if runtime not in (*there, "all"):
            raise one_of("runtime", runtime, there)
    wanted = there if "all" in runtimes else runtimes
    named = [
        candidate(model, runtime)
        for model in models or found
        for runtime in wanted
        if partitions_of(candidate(model, runtime), found)
    ]
    absent = [model for model in models or () if not any(n.startswith(f"{model}@") for n in named)]
    if absent or not named:
        what = ", ".join(absent) or "any model"
        raise InputError(f"the cache has no logits of {what} in {', '.join(wanted)}: extract them")
    return named


def origin(manifest: Manifest) -> object:
    """SHA-256 of a model's weights, of a file that was made of a model those of the model."""
    about = manifest.provenance
    export = (about.get("settings") or {}).get("export") or {}
    return export.get("weights_sha256") or about.get("weights_sha256")
