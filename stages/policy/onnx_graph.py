"""A whole cascade as one ONNX graph: pixels in, answers out, each later model inside an `If`.

So a model runs on those rows alone that no earlier one is trusted with, and not at all where there
are none. Its weights stand inside the branch: beside it ONNX Runtime misses fusions, and the model
takes two to three times as long. Scores are computed in float64, by the operations of
`stages.scores`; the rule is that of `stages.cascade.run_stages`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from cache import InputError
from stages.cascade import ALWAYS, AT, Cascade, Limit
from stages.policy.file import deployable
from stages.runtimes import OnnxModel, Preprocessing
from stages.scores import Score, named

OPSET = 18
INPUT = "pixels"
OUTPUTS = {"prediction": "INT32", "answered": "INT32", "score": "DOUBLE", "escalated": "BOOL"}
LARGEST_BYTES = (1 << 31) - (1 << 24)  # as protobuf has it, less for what is around the weights
_INSTEAD = "deploy the policy with its own runtime"
# What an answer is made of, in the order of a branch's outputs, and the type of each.
_STATE = {"prediction": "INT32", "answered": "INT32", "score": "DOUBLE", "stage": "INT32"}


@dataclass(frozen=True)
class OnnxStage:
    """A model of the cascade as its file, and how its pictures are prepared."""

    name: str
    model: OnnxModel
    preprocessing: Preprocessing

    @property
    def geometry(self) -> tuple[object, ...]:
        """Models of the same get the same pixels."""
        seen = self.preprocessing
        way = (seen.resize, seen.crop, seen.interpolation)
        return (*self.model.shape, *(way if seen.resize or seen.crop else ()))


def inputs(stages: Sequence[OnnxStage]) -> dict[tuple[object, ...], str]:
    """By geometry the input's name: `pixels`, or `pixels_1`, `pixels_2` … where several differ."""
    ways = list(dict.fromkeys(stage.geometry for stage in stages))
    names = [INPUT] if len(ways) == 1 else [f"{INPUT}_{i}" for i in range(1, len(ways) + 1)]
    return dict(zip(ways, names, strict=True))


def cascade_graph(stages: Sequence[OnnxStage], cascade: Cascade, about: dict[str, str]) -> Any:
    """The onnx.ModelProto of a cascade, whose stages' files these are, with metadata `about`.

    Inputs uint8 [batch, C, H, W], resized and cropped; outputs int32 [batch] `prediction` and
    `answered` (the stage whose answer stands, from 0), float64 `score` of that stage and bool
    `escalated`. InputError for a model that cannot go in, and for a score that is not the rule's
    own.
    """
    from onnx import TensorProto, checker, helper

    deployable(cascade)
    score = named(str(cascade.score))
    for stage in stages:
        _check(stage)
    whole = sum(stage.model.nbytes for stage in stages)
    if whole > LARGEST_BYTES:
        raise InputError(f"{whole >> 20} MiB are more than one ONNX file holds: {_INSTEAD}")
    given = inputs(stages)
    models = [_one_opset(stage, f"{chr(ord('A') + i)}/") for i, stage in enumerate(stages)]
    graph = _Graph("cascade")
    made = _Stages(stages, models, given, score, cascade)
    state = made.first(graph)
    graph.add("Greater", [state["stage"], graph.constant(np.int32(0))], "escalated")
    for name in OUTPUTS:
        if name != "escalated":
            graph.add("Identity", [state[name]], name)
    shapes = {stage.geometry: stage.model.shape for stage in stages}
    tensor = helper.make_tensor_value_info
    ends = [tensor(name, TensorProto.UINT8, ["batch", *shapes[way]]) for way, name in given.items()]
    outs = [tensor(name, getattr(TensorProto, kind), ["batch"]) for name, kind in OUTPUTS.items()]
    made_of = [helper.make_opsetid("", OPSET), *_other_domains(models)]
    version = max(8, *(model.ir_version for model in models))
    found = helper.make_model(
        graph.proto(ends, outs), opset_imports=made_of, ir_version=version, producer_name="cascade"
    )
    helper.set_model_props(found, about)
    try:
        checker.check_model(found)
    except checker.ValidationError as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"the cascade makes no valid ONNX file ({reason}): {_INSTEAD}") from error
    return found


def _check(stage: OnnxStage) -> None:
    model = stage.model
    if model.smallest > 1 or model.largest is not None:
        raise InputError(
            f"{stage.name} takes {model.largest or model.smallest} pictures at a time, which one "
            "graph cannot fill: export it with a free batch"
        )


def _one_opset(stage: OnnxStage, prefix: str) -> Any:
    """The model in this opset, without functions, its names after the prefix."""
    import onnx
    from onnx import inliner, version_converter

    found = onnx.load(stage.model.path)
    try:
        if found.functions:
            found = inliner.inline_local_functions(found)
        for each in found.opset_import:
            each.domain = _domain(each.domain)
        own = next((each.version for each in found.opset_import if not each.domain), OPSET)
        if own != OPSET:
            found = version_converter.convert_version(found, OPSET)
        if found.graph.sparse_initializer:
            raise ValueError("it holds sparse weights")
        _prefix(found.graph, prefix)
        return found
    except Exception as error:  # its converter fails in any way
        reason = " ".join(str(error).split())[:150]
        raise InputError(
            f"{stage.name} cannot go into one file ({reason}): export it in opset {OPSET}"
        ) from error


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _prefix(graph: Any, prefix: str) -> None:
    """Put it before every name of the graph and of those inside it."""
    for each in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        each.name = prefix + each.name
    for node in graph.node:
        node.name, node.domain = node.name and prefix + node.name, _domain(node.domain)
        node.input[:] = [prefix + name if name else "" for name in node.input]
        node.output[:] = [prefix + name if name else "" for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _prefix(inner, prefix)


def _other_domains(models: Sequence[Any]) -> list[Any]:
    """The operator sets beside the standard one, each in the newest version that a model names."""
    from onnx import helper

    newest: dict[str, int] = {}
    for each in (one for model in models for one in model.opset_import if one.domain):
        newest[each.domain] = max(each.version, newest.get(each.domain, 0))
    return [helper.make_opsetid(*each) for each in newest.items()]


class _Graph:
    """Nodes and initialisers of one graph, the outermost or that of a branch, as they are added."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[Any] = []
        self._initialisers: list[Any] = []
        self._fresh = (f"{name}/{i}" for i in count())

    def add(
        self, kind: str, given: Sequence[str], out: str | None = None, **attributes: Any
    ) -> str:
        """The output of a node with one."""
        from onnx import helper

        out = out or next(self._fresh)
        self._nodes.append(helper.make_node(kind, list(given), [out], **attributes))
        return out

    def add_to(self, kind: str, given: Sequence[str], outs: int, **attributes: Any) -> list[str]:
        """The outputs of a node with several."""
        from onnx import helper

        names = [next(self._fresh) for _ in range(outs)]
        self._nodes.append(helper.make_node(kind, list(given), names, **attributes))
        return names

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper

        name = next(self._fresh)
        self._initialisers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def filled(self, value: Any, like: str) -> str:
        """The value once for each row of `like`."""
        return self.add("Expand", [self.constant(value), self.add("Shape", [like])])

    def cast(self, value: str, kind: str) -> str:
        from onnx import TensorProto

        return self.add("Cast", [value], to=getattr(TensorProto, kind))

    def inline(self, model: Any, given: str) -> str:
        """The model on `given`; its output."""
        graph = model.graph
        stored = {each.name for each in graph.initializer}
        [taken] = [each.name for each in graph.input if each.name not in stored]
        self.add("Identity", [given], taken)
        self._nodes += graph.node
        self._initialisers += graph.initializer
        return str(graph.output[0].name)

    def proto(self, ends: Sequence[Any], outs: Sequence[Any]) -> Any:
        from onnx import helper

        return helper.make_graph(self._nodes, self.name, ends, outs, self._initialisers)


@dataclass(frozen=True)
class _Stages:
    """The stages of a cascade, as parts of graphs."""

    stages: Sequence[OnnxStage]
    models: Sequence[Any]
    given: dict[tuple[object, ...], str]
    score: Score
    cascade: Cascade

    def first(self, graph: _Graph) -> dict[str, str]:
        """The state of all rows once the cascade has run."""
        prediction, own = self._asked(graph, 0, None)
        zeros = graph.filled(np.int32(0), own)
        state = {"prediction": prediction, "answered": zeros, "score": own, "stage": zeros}
        return self._rest(graph, 1, state, own, None)

    def _rest(
        self, graph: _Graph, stage: int, state: dict[str, str], own: str, rows: str | None
    ) -> dict[str, str]:
        """The state of these rows (None: all) after this stage and those that follow, where `own`
        is the score of the one before."""
        if stage == len(self.stages):
            return state
        going = self._not_trusted(graph, own, self.cascade.limits[stage - 1])
        here = graph.add("Reshape", [graph.add("NonZero", [going]), graph.constant([-1])])
        some = graph.add("Greater", [graph.add("Size", [here]), graph.constant(0)])
        branches = {
            "then_branch": self._branch(graph, stage, state, here, rows),
            "else_branch": self._unchanged(graph, stage, state),
        }
        outs = graph.add_to("If", [some], len(_STATE), **branches)
        return dict(zip(_STATE, outs, strict=True))

    def _branch(
        self, outer: _Graph, stage: int, state: dict[str, str], here: str, rows: str | None
    ) -> Any:
        """This stage on the rows `here`, positions among `rows`; the state of all of `rows`."""
        graph = _Graph(f"{outer.name}/{chr(ord('A') + stage)}")
        at = here if rows is None else graph.add("Gather", [rows, here])
        prediction, own = self._asked(graph, stage, at)
        before = {name: graph.add("Gather", [value, here]) for name, value in state.items()}
        number = graph.filled(np.int32(stage), own)
        fresh = {"prediction": prediction, "answered": number, "score": own, "stage": number}
        if self.cascade.postcheck:
            surer = "Greater" if self.score.sign > 0 else "Less"
            taken = graph.add(surer, [own, before["score"]])
            fresh |= {
                name: graph.add("Where", [taken, fresh[name], before[name]])
                for name in ("prediction", "answered", "score")
            }
        after = self._rest(graph, stage + 1, fresh, own, at)
        column = graph.add("Unsqueeze", [here, graph.constant([1])])
        outs = {name: graph.add("ScatterND", [state[name], column, after[name]]) for name in _STATE}
        return graph.proto([], [*_infos(outs)])

    def _unchanged(self, outer: _Graph, stage: int, state: dict[str, str]) -> Any:
        graph = _Graph(f"{outer.name}/no {chr(ord('A') + stage)}")
        outs = {name: graph.add("Identity", [value]) for name, value in state.items()}
        return graph.proto([], [*_infos(outs)])

    def _asked(self, graph: _Graph, stage: int, rows: str | None) -> tuple[str, str]:
        """Answers and scores of a model on these rows (None: all)."""
        one = self.stages[stage]
        pixels = self.given[one.geometry]
        taken = pixels if rows is None else graph.add("Gather", [pixels, rows])
        logits = graph.inline(self.models[stage], _normalised(graph, taken, one.preprocessing))
        prediction = graph.add("ArgMax", [logits], axis=1, keepdims=0)
        return graph.cast(prediction, "INT32"), _scored(graph, logits, one, self.score)

    def _not_trusted(self, graph: _Graph, own: str, limit: Limit) -> str:
        """bool [rows]: what is not surely above λ, NaN too."""
        if limit.kind == AT:
            trusts = "GreaterOrEqual" if self.score.sign > 0 else "LessOrEqual"
            at = graph.constant(np.float64(limit.value))
            return graph.add("Not", [graph.add(trusts, [own, at])])
        return graph.filled(np.bool_(limit.kind == ALWAYS), own)


def _infos(outs: dict[str, str]) -> Iterator[Any]:
    from onnx import TensorProto, helper

    for name, kind in _STATE.items():
        yield helper.make_tensor_value_info(outs[name], getattr(TensorProto, kind), [None])


def _normalised(graph: _Graph, pixels: str, seen: Preprocessing) -> str:
    """As `Preprocessing.normalise_array`, operation by operation."""
    mean, std = np.array([seen.mean, seen.std], np.float32)[:, None, :, None, None]
    scaled = graph.add("Div", [graph.cast(pixels, "FLOAT"), graph.constant(np.float32(255))])
    centred = graph.add("Sub", [scaled, graph.constant(mean)])
    return graph.add("Div", [centred, graph.constant(std)])


def _scored(graph: _Graph, logits: str, one: OnnxStage, score: Score) -> str:
    """float64 [rows], as `stages.scores.scores_of`: x = logit − max, Z = Σ eˣ."""
    axis = graph.constant([1])
    exact = graph.cast(logits, "DOUBLE")
    x = graph.add("Sub", [exact, graph.add("ReduceMax", [exact, axis], keepdims=1)])
    each = graph.add("Exp", [x])
    total = graph.add("ReduceSum", [each, axis], keepdims=0)
    unit = graph.constant(np.float64(1))
    if score.name == "maxp":
        return graph.add("Div", [unit, total])
    if score.name == "difference":
        two = graph.add_to("TopK", [each, graph.constant([2])], 2, axis=1)[0]
        ends = [graph.constant([1]), graph.constant([2]), axis]
        second = graph.add("Squeeze", [graph.add("Slice", [two, *ends]), axis])
        return graph.add("Div", [graph.add("Sub", [unit, second]), total])
    weighted = graph.add("ReduceSum", [graph.add("Mul", [each, x]), axis], keepdims=0)
    shares = graph.add("Div", [weighted, total])
    nats = graph.add("Sub", [graph.add("Log", [total]), shares])
    whole = graph.add("Div", [nats, graph.constant(np.float64(math.log(one.model.classes)))])
    return graph.add("Clip", [whole, graph.constant(np.float64(0)), unit])
