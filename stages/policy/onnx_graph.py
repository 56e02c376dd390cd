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
from stages.scores import SCORES, UNANSWERED, VOTE_SHARE, Coefficients, Score, made_of, named

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
    `escalated`; of a last stage that is nobody's −1 and NaN. InputError for a model that cannot go
    in, and for a score that is not the rule's own.
    """
    from onnx import TensorProto, checker, helper

    deployable(cascade)
    score = score_in_graph(cascade)
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


def score_in_graph(cascade: Cascade) -> Score:
    """By which it decides, of a model alone maxp; InputError for one that no graph computes."""
    score = named(cascade.score or "maxp")
    how, base = made_of(score.name) or ("", score.name)
    known = how not in ("learned", "isotonic") and (how == "logits" or base in SCORES)
    if not known and score != VOTE_SHARE:
        raise InputError(f"no ONNX file holds the score {score.name}: {_INSTEAD}")
    return score


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

        used = {name for node in self._nodes for name in _read_by(node)} | {o.name for o in outs}
        stored = [each for each in self._initialisers if each.name in used]
        return helper.make_graph(self._nodes, self.name, ends, outs, stored)


def _read_by(node: Any) -> Iterator[str]:
    """The names that a node, and the graphs inside it, read."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            yield from (each.name for each in inner.output)
            yield from (name for one in inner.node for name in _read_by(one))


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
        prediction, own, shares = self._asked(graph, 0, None)
        zeros = graph.filled(np.int32(0), own)
        state = {"prediction": prediction, "answered": zeros, "score": own, "stage": zeros}
        return self._rest(graph, 1, state, own, None, shares)

    def _rest(
        self,
        graph: _Graph,
        stage: int,
        state: dict[str, str],
        own: str,
        rows: str | None,
        shares: str,
    ) -> dict[str, str]:
        """The state of these rows (None: all) after this stage and those that follow, where `own`
        is the score of the one before, and `shares` its probabilities in an ensemble."""
        if stage == len(self.cascade.stages):
            return state
        going = self._not_trusted(graph, own, self.cascade.limits[stage - 1])
        if self.cascade.stages[stage].nobodys:
            return self._nobodys(graph, stage, state, going)
        here = graph.add("Reshape", [graph.add("NonZero", [going]), graph.constant([-1])])
        some = graph.add("Greater", [graph.add("Size", [here]), graph.constant(0)])
        branches = {
            "then_branch": self._branch(graph, stage, state, here, rows, shares),
            "else_branch": self._unchanged(graph, stage, state),
        }
        outs = graph.add_to("If", [some], len(_STATE), **branches)
        return dict(zip(_STATE, outs, strict=True))

    def _nobodys(
        self, graph: _Graph, stage: int, state: dict[str, str], going: str
    ) -> dict[str, str]:
        """The state once these rows, bool, are left to nobody: no model runs."""
        at, nothing = np.int32(stage), np.float64(np.nan)
        fresh = {"prediction": np.int32(UNANSWERED), "answered": at, "score": nothing, "stage": at}
        return {
            name: graph.add("Where", [going, graph.constant(fresh[name]), value])
            for name, value in state.items()
        }

    def _branch(
        self,
        outer: _Graph,
        stage: int,
        state: dict[str, str],
        here: str,
        rows: str | None,
        shares: str,
    ) -> Any:
        """This stage on the rows `here`, positions among `rows`; the state of all of `rows`."""
        graph = _Graph(f"{outer.name}/{chr(ord('A') + stage)}")
        at = here if rows is None else graph.add("Gather", [rows, here])
        prediction, own, more = self._asked(graph, stage, at)
        if self.cascade.averaged:
            mean = graph.add("Add", [graph.add("Gather", [shares, here]), more])
            prediction = graph.cast(graph.add("ArgMax", [mean], axis=1, keepdims=0), "INT32")
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
        after = self._rest(graph, stage + 1, fresh, own, at, more)
        column = graph.add("Unsqueeze", [here, graph.constant([1])])
        outs = {name: graph.add("ScatterND", [state[name], column, after[name]]) for name in _STATE}
        return graph.proto([], [*_infos(outs)])

    def _unchanged(self, outer: _Graph, stage: int, state: dict[str, str]) -> Any:
        graph = _Graph(f"{outer.name}/no {chr(ord('A') + stage)}")
        outs = {name: graph.add("Identity", [value]) for name, value in state.items()}
        return graph.proto([], [*_infos(outs)])

    def _asked(self, graph: _Graph, stage: int, rows: str | None) -> tuple[str, str, str]:
        """Answers, scores and, in an ensemble, probabilities of a stage on these rows (None:
        all)."""
        at, each = sum(len(one.members) for one in self.cascade.stages[:stage]), []
        for i, name in enumerate(self.cascade.stages[stage].members, at):
            logits = self._logits(graph, i, rows)
            prediction = graph.add("ArgMax", [logits], axis=1, keepdims=0)
            each.append((graph.cast(prediction, "INT32"), logits, name))
        if len(each) > 1:
            return *_voted(graph, *(prediction for prediction, *_ in each)), ""
        [(prediction, logits, name)] = each
        fitted = self.cascade.coefficients.get(name, {})
        exact = graph.cast(logits, "DOUBLE")
        if "temperature" in fitted:
            exact = graph.add("Div", [exact, graph.constant(np.float64(fitted["temperature"]))])
        if self.score == VOTE_SHARE:
            return prediction, graph.filled(np.float64(np.nan), prediction), ""
        own = _scored(graph, exact, self.stages[at].model.classes, self.score.name, fitted)
        return prediction, own, _softmax(graph, exact) if self.cascade.averaged else ""

    def _logits(self, graph: _Graph, i: int, rows: str | None) -> str:
        """Of the i-th model on these rows."""
        one = self.stages[i]
        pixels = self.given[one.geometry]
        taken = pixels if rows is None else graph.add("Gather", [pixels, rows])
        return graph.inline(self.models[i], _normalised(graph, taken, one.preprocessing))

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


def _voted(graph: _Graph, a: str, b: str) -> tuple[str, str]:
    """The answer of two that vote, in a tie the first's, and their vote share."""
    ends = [graph.constant(np.float64(share)) for share in (1, 0.5)]
    return a, graph.add("Where", [graph.add("Equal", [a, b]), *ends])


def _softmax(graph: _Graph, exact: str) -> str:
    """float64 [rows, K], as `stages.scores.softmax_of`."""
    axis = graph.constant([1])
    x = graph.add("Sub", [exact, graph.add("ReduceMax", [exact, axis], keepdims=1)])
    each = graph.add("Exp", [x])
    return graph.add("Div", [each, graph.add("ReduceSum", [each, axis], keepdims=1)])


def _scored(graph: _Graph, exact: str, classes: int, name: str, fitted: Coefficients) -> str:
    """float64 [rows] of logits float64 [rows, K], as `stages.scores` computes it: x = logit − max,
    Z = Σ eˣ."""
    how, score = made_of(name) or ("", name)
    axis, unit = graph.constant([1]), graph.constant(np.float64(1))
    largest = graph.add("ReduceMax", [exact, axis], keepdims=1)
    x = graph.add("Sub", [exact, largest])
    each = graph.add("Exp", [x])
    total = graph.add("ReduceSum", [each, axis], keepdims=0)
    if score == "margin":
        return _neg(graph, _second(graph, x))
    if score == "energy":
        first = graph.add("Squeeze", [largest, axis])
        return graph.add("Add", [first, graph.add("Log", [total])])
    own = _OF[score](graph, x, each, total, classes)
    if how != "platt":
        return own
    slope = SCORES[score].sign * fitted["slope"]
    line = graph.add("Mul", [own, graph.constant(np.float64(slope))])
    line = graph.add("Add", [line, graph.constant(np.float64(fitted["intercept"]))])
    odds = graph.add("Exp", [_neg(graph, line)])
    return graph.add("Div", [unit, graph.add("Add", [unit, odds])])


def _neg(graph: _Graph, value: str) -> str:
    return graph.add("Neg", [value])


def _second(graph: _Graph, values: str) -> str:
    """The second largest of each row."""
    axis = graph.constant([1])
    two = graph.add_to("TopK", [values, graph.constant([2])], 2, axis=1)[0]
    ends = [graph.constant([1]), graph.constant([2]), axis]
    return graph.add("Squeeze", [graph.add("Slice", [two, *ends]), axis])


def _maxp(graph: _Graph, x: str, each: str, total: str, classes: int) -> str:
    return graph.add("Div", [graph.constant(np.float64(1)), total])


def _difference(graph: _Graph, x: str, each: str, total: str, classes: int) -> str:
    unit = graph.constant(np.float64(1))
    return graph.add("Div", [graph.add("Sub", [unit, _second(graph, each)]), total])


def _entropy(graph: _Graph, x: str, each: str, total: str, classes: int) -> str:
    weighted = graph.add(
        "ReduceSum", [graph.add("Mul", [each, x]), graph.constant([1])], keepdims=0
    )
    shares = graph.add("Div", [weighted, total])
    nats = graph.add("Sub", [graph.add("Log", [total]), shares])
    whole = graph.add("Div", [nats, graph.constant(np.float64(math.log(classes)))])
    ends = [graph.constant(np.float64(end)) for end in (0, 1)]
    return graph.add("Clip", [whole, *ends])


_OF = {"maxp": _maxp, "difference": _difference, "entropy": _entropy}
