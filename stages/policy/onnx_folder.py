"""A cascade as a file for model servers and other languages: cascade.onnx, and Triton's folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from cache import InputError
from stages.cascade import Cascade, votes
from stages.policy.file import ONNX_FILES
from stages.policy.onnx_graph import (
    OUTPUTS,
    OnnxStage,
    cascade_graph,
    inputs,
    score_in_graph,
)
from stages.policy.runtime import CascadeRuntime, with_fitted
from stages.runtimes import (
    ModelRunner,
    not_installed,
    open_device,
    runner_of,
    seeded_pictures,
)
from stages.scores import scores_of

_MOST = 64  # requests that Triton may answer together
_PICTURES = 16
# How far scores of one graph and of its models alone may be apart, as fused operators round.
_CLOSE = 1e-4


class _Sessions(CascadeRuntime):
    """The models one by one, each on its own pixels."""

    def __init__(self, stages: Sequence[OnnxStage], cascade: Cascade) -> None:
        self.seen = {stage.name: stage.geometry for stage in stages}
        self.cascade, score = cascade, score_in_graph(cascade)
        rules = [(score, limit) for limit in cascade.limits]
        names, ensemble = [score.name] * len(cascade.stages), bool(cascade.averaged)
        super().__init__(names, rules, cascade.postcheck, ensemble=ensemble)

    def scored(
        self, stage: int, model: Mapping[str, ModelRunner], batch: np.ndarray
    ) -> dict[str, np.ndarray]:
        name, fitted = self.names[stage], self.cascade.coefficients
        each = []
        for member in self.cascade.stages[stage].members:
            runner = model[member]
            pixels = np.stack([one[self.seen[member]] for one in batch])
            logits = runner.host_logits(runner.upload(pixels))
            how = (logits, name, fitted.get(member), self.ensemble)
            each.append(with_fitted(scores_of(logits), *how))
        if len(each) > 1:
            prediction, each[0][name] = votes(np.stack([one["prediction"] for one in each]))
            return each[0] | {"prediction": prediction}
        return each[0]


def onnx_files(
    stages: Sequence[OnnxStage], cascade: Cascade, about: Mapping[str, str]
) -> dict[str, bytes]:
    """cascade.onnx, with metadata `about`, and the files of Triton's folder, by their places.

    InputError where the cascade cannot be one file, or answers otherwise than its models do.
    """
    if None in map(find_spec, ("onnx", "onnxruntime")):
        raise not_installed("what writes a cascade as one file", "onnx-export")
    data = cascade_graph(stages, cascade, dict(about)).SerializeToString()
    _check(data, stages, cascade)
    config = triton_config(stages).encode()
    return dict(zip(ONNX_FILES, (data, config, data), strict=True))


def _check(data: bytes, stages: Sequence[OnnxStage], cascade: Cascade) -> None:
    """InputError where the file answers seeded pictures otherwise than its models one by one."""
    from stages.runtimes import session  # ONNX Runtime, which other policies do without

    names = inputs(stages)
    shapes = {stage.geometry: stage.model.shape for stage in stages}
    pixels = {way: seeded_pictures((_PICTURES, *shapes[way])) for way in names}
    device = open_device("cpu", engine="onnxruntime")
    runners = [runner_of(stage.model, stage.preprocessing, device) for stage in stages]
    requests = [{way: pixels[way][i] for way in names} for i in range(_PICTURES)]
    try:
        by_name = dict(zip(cascade.models_that_run, runners, strict=True))
        models = [by_name] * sum(not stage.nobodys for stage in cascade.stages)
        told = _Sessions(stages, cascade).run(models, requests, None, None)
    except ValueError as error:
        raise InputError(f"its models give no finite logits of pictures ({error})") from error
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "cascade.onnx")
        file.write_bytes(data)
        found = answered_by(session(file, 1), {name: pixels[way] for way, name in names.items()})
    same = (found["prediction"] == told.prediction) & (found["escalated"] == told.escalated)
    close = np.isclose(found["score"], told.score, rtol=_CLOSE, atol=_CLOSE, equal_nan=True)
    if not (same & close).all():
        raise InputError(
            "the cascade as one ONNX file answers otherwise than its models do: deploy the policy "
            "with its own runtime"
        )


def answered_by(opened: Any, pixels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a cascade's session, each [n], by name."""
    names = list(OUTPUTS)
    return dict(zip(names, opened.run(names, dict(pixels)), strict=True))


def triton_config(stages: Sequence[OnnxStage]) -> str:
    """config.pbtxt of the file for Triton's ONNX Runtime backend, which gathers up to 64 requests.

    A row of an output is a number, which Triton reports as an array of one.
    """
    shapes = {stage.geometry: stage.model.shape for stage in stages}
    ends = [
        _block("input", name, "UINT8", f"dims: [ {', '.join(map(str, shapes[way]))} ]")
        for way, name in inputs(stages).items()
    ]
    ends += [
        _block("output", name, _TYPES.get(kind, kind), "dims: [ 1 ]", "reshape: { shape: [ ] }")
        for name, kind in OUTPUTS.items()
    ]
    head = [
        'name: "cascade"',
        'backend: "onnxruntime"',
        f"max_batch_size: {_MOST}",
        "dynamic_batching { }",
    ]
    return "\n".join([*head, *ends]) + "\n"


_TYPES = {"DOUBLE": "FP64"}  # as Triton calls them


def _block(kind: str, name: str, data_type: str, *lines: str) -> str:
    told = [f'name: "{name}"', f"data_type: TYPE_{data_type}", *lines]
    return f"{kind} [\n  {{\n" + "".join(f"    {line}\n" for line in told) + "  }\n]"
