"""The models of a policy as the ONNX files that one graph is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from cache import InputError, Store
from cascade_cli import options as opt
from cascade_cli.inputs.running import in_runtime, models_to_run
from cascade_cli.show.text import say
from stages.models import load
from stages.policy import OnnxStage
from stages.runtimes import OnnxModel, said_by
from stages.scores import model_in

_FLOAT32 = "onnxruntime-fp32-cpu"
# What a model of the policy's runtime goes in as, where that is not its float32 file.
_FILES = {"onnxruntime-int8-cpu": "onnxruntime-int8-cpu"}


def onnx_stages(
    store: Store, dataset: str, models: Sequence[Mapping[str, Any]], wanted: opt.LogitsOptions
) -> list[OnnxStage]:
    """Of the models that a policy is going to name.

    InputError for logits that were imported, and for weights that are not those of the logits.
    """
    return [_stage(store, dataset, model, wanted) for model in models]


def _stage(
    store: Store, dataset: str, model: Mapping[str, Any], wanted: opt.LogitsOptions
) -> OnnxStage:
    name, runtime = model["name"], model["runtime"]
    if said_by(runtime) is None:
        raise InputError(
            f"{name} has logits of the runtime {runtime} and no model, so that no ONNX file can "
            "hold it: leave out --onnx, or extract it first"
        )
    bare = model_in(name)[0]
    images = opt.ImageOptions(
        wanted.data,
        wanted.weights,
        recorded={bare: {**model, "name": bare}},
        runtime=_FILES.get(runtime, _FLOAT32),
    )
    [one] = models_to_run(store, dataset, [bare], [], in_runtime(images))
    if model.get("weights_sha256") is None:
        raise InputError(
            f"the policy does not say which weights of {name} it is of: export it again"
        )
    if "-fp32-" not in runtime and runtime not in _FILES:
        say(f"note: {name} goes in in fp32, and λ is of {runtime}, whose scores differ a little")
    if one.weights.sha256 != model["weights_sha256"]:
        raise InputError(
            f"{name} has weights {one.weights.sha256[:12]}, its logits are of "
            f"{model['weights_sha256'][:12]}: give those (--weights)"
        )
    file = cast(OnnxModel, load(one.spec, one.weights))
    return OnnxStage(name, file, one.spec.preprocessing)
