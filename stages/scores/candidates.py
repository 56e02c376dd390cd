"""A model in one of several runtimes, as a candidate: `resnet20@onnxruntime-int8-cpu`.

>>> candidate("resnet20", "torch-fp32-cpu")
'resnet20@torch-fp32-cpu'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cache import InputError, Manifest, one_of

Held = Mapping[str, Sequence[Manifest]]
"""Model → its partitions, one per runtime."""


def candidate(model: str, runtime: str) -> str:
    return f"{model}@{runtime}"


def in_runtime(name: str, found: Held) -> tuple[str, str | None]:
    """The model and the runtime that a candidate names; a model of that very name comes first."""
    model, at, runtime = name.rpartition("@")
    return (model, runtime) if at and name not in found and model in found else (name, None)


def partitions_of(name: str, found: Held) -> list[Manifest]:
    """Of a model in all its runtimes, of a candidate in its own; none where it is not there."""
    model, runtime = in_runtime(name, found)
    here = found.get(model, ())
    return [each for each in here if runtime in (None, each.partition.keys["runtime"])]


def candidates(found: Held, models: Sequence[str] | None, runtimes: Sequence[str]) -> list[str]:
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
