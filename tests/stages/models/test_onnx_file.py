"""ONNX files from elsewhere: read with protobuf alone, hostile ones refused in one line each."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from cache import InputError
from stages.models import choose, load, onnx_file
from stages.models.onnx_file import facts

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_files import (  # noqa: E402
    ABOUT,
    CLASSES,
    SHAPE,
    flatten_and_multiply,
    value,
    weights,
    written,
)

SIZES = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "sizes")
EVIL = helper.make_node("Run", ["pixels"], ["gone"], domain="com.evil")
BOMB = helper.make_node("ConstantOfShape", ["sizes"], ["gone"])


def within(nodes):
    """An If with them in a branch."""
    branch = helper.make_graph(nodes, "branch", [], [value("gone", 1)])
    constant = helper.make_tensor("", TensorProto.BOOL, [], [True])
    return [
        helper.make_node("Constant", [], ["always"], value=constant),
        helper.make_node("If", ["always"], ["both"], then_branch=branch, else_branch=branch),
    ]


def function(nodes, domain="own", imports=()):
    made = helper.make_function(
        domain, "Twice", ["x"], ["gone"], nodes, [helper.make_opsetid("", 18), *imports]
    )
    return flatten_and_multiply(functions=[made])


def claimed(*dims):
    """A tensor that says that it is so large, and is not."""
    return TensorProto(name="large", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"abcd")


def external(**about):
    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[64, CLASSES])
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in about.items():
        tensor.external_data.add(key=key, value=str(text))
    return flatten_and_multiply(initializer=[tensor])


CONSTANT = helper.make_node("Constant", [], ["sizes"], value_ints=[1 << 20, 1 << 20])
HOSTILE = {
    "an operator of another domain": flatten_and_multiply(more=[EVIL]),
    "one in a subgraph": flatten_and_multiply(more=within([EVIL])),
    "one in a function": function([helper.make_node("Run", ["x"], ["gone"], domain="com.evil")]),
    "an output of a terabyte": flatten_and_multiply(more=[BOMB], initializer=[weights(), SIZES]),
    "one by a constant": flatten_and_multiply(more=[CONSTANT, BOMB]),
    "one in a subgraph of a terabyte": flatten_and_multiply(more=within([CONSTANT, BOMB])),
    "a tensor of 4 GB": flatten_and_multiply(initializer=[weights(), claimed(1 << 15, 1 << 15)]),
    "one of less than nothing": flatten_and_multiply(initializer=[weights(), claimed(-1, 4)]),
    "an attribute of 4 GB": flatten_and_multiply(
        more=[helper.make_node("Constant", [], ["gone"], value=claimed(1 << 30))]
    ),
    "a million dimensions": flatten_and_multiply(
        initializer=[weights(), claimed(*[1] * 1_000_000)]
    ),
    "a million that no number holds": flatten_and_multiply(
        initializer=[
            weights(),
            TensorProto(name="large", data_type=TensorProto.INT64, dims=[1 << 62] * 10**6),
        ]
    ),
    "absurd dimensions": flatten_and_multiply(inputs=[value("pixels", 1, 1 << 20, 1 << 20, 8)]),
    "a shape as an attribute": flatten_and_multiply(
        more=[helper.make_node("RandomNormal", [], ["gone"], shape=[1 << 20, 1 << 20])]
    ),
    "data that climbs out": external(location="../secret.bin"),
    "data anywhere": external(location="/etc/passwd"),
    "data in memory": external(location="*/_ORT_MEM_ADDR_/*", offset=4096, length=2560),
    "data in no file": external(location="sub"),
    "data that a link leads to": external(location="link.bin"),
    "data that two names lead to": external(location="hard.bin"),
    "data beyond its end": external(location="own.bin", offset=1, length=2560),
    "data at no number": external(location="own.bin", offset="abc"),
    "data that is nowhere": external(length=4),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With files that external data may be, and may not."""
    root = tmp_path_factory.mktemp("hostile") / "nets"
    (root / "sub").mkdir(parents=True)
    data = numpy_helper.to_array(weights()).tobytes()
    for path in (root / "own.bin", root.parent / "secret.bin", root / "sub" / "other.bin"):
        path.write_bytes(data)
    (root / "link.bin").symlink_to(root.parent / "secret.bin")
    os.link(root.parent / "secret.bin", root / "hard.bin")
    return root


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_and_never_loaded(kind, folder, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    path = written(folder, HOSTILE[kind])
    with pytest.raises(InputError, match=r"holds .*: refused") as refused:
        choose("digits", [f"onnx:{path}"])
    assert "\n" not in str(refused.value)


def test_files_cut_anywhere_are_refused(folder, tmp_path):
    whole = written(folder).read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 30):
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"is no whole ONNX file|does not map one batch"):
            facts(cut)


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST_FILE", 1 << 20)
    path = tmp_path / "large.onnx"
    with open(path, "wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(InputError, match="holds 1 MiB of data: refused"):
        facts(path)


SHAPES = {
    "two inputs": {"inputs": [value("pixels", "b", *SHAPE), value("more", "b", 3)]},
    "two outputs": {"outputs": [value("logits", "b", 10), value("flat", "b", 64)]},
    "free height": {"inputs": [value("pixels", "b", 1, "h", 8)]},
    "a map": {"outputs": [value("logits", "b", 10, 1, 1)]},
    "integers": {"inputs": [helper.make_tensor_value_info("pixels", 2, ["b", *SHAPE])]},
    "one row": {"outputs": [value("logits", 1, 10)]},
}


@pytest.mark.parametrize("kind", SHAPES)
def test_only_classifiers_of_pictures_are_taken(kind, tmp_path):
    with pytest.raises(InputError, match="does not"):
        facts(written(tmp_path, flatten_and_multiply(**SHAPES[kind])))


def test_what_is_known_without_running_it(tmp_path):
    for batch, limits in (("batch", (1, None)), (3, (3, 3))):
        found = facts(written(tmp_path / str(batch), flatten_and_multiply(batch)))
        assert (found.shape, found.smallest, found.largest) == (SHAPE, *limits)
        assert (found.classes, found.parameters) == (CLASSES, 640)


def test_functions_of_the_file_itself_are_looked_into(tmp_path):
    own = helper.make_node("Relu", ["x"], ["gone"])
    assert facts(written(tmp_path, function([own]))).classes == CLASSES


def test_external_data_beside_it_belongs_to_the_weights(folder, tmp_path):
    """Its bytes are part of what the weights are told apart by."""
    path = written(tmp_path, external(location="own.bin", length=2560))
    (tmp_path / "own.bin").write_bytes((folder / "own.bin").read_bytes())
    [before] = choose("digits", [f"onnx:{path}"])
    assert load(before.spec, before.weights).external == (tmp_path / "own.bin",)
    (tmp_path / "own.bin").write_bytes(bytes(2560))
    [after] = choose("digits", [f"onnx:{path}"])
    assert before.weights.sha256 != after.weights.sha256


COMPUTED = [
    helper.make_node("Constant", [], ["half"], value_ints=[1 << 22]),
    helper.make_node("Mul", ["half", "half"], ["sizes"]),
    BOMB,
    helper.make_node("ReduceMax", ["gone"], ["one"], keepdims=0),
    helper.make_node("Add", ["pixels", "one"], ["moved"]),
    helper.make_node("Flatten", ["moved"], ["flat"]),
    helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
]


def test_a_size_that_is_computed_ends_the_trial_alone(tmp_path):
    [one] = choose("digits", [f"onnx:{written(tmp_path, flatten_and_multiply(nodes=COMPUTED))}"])
    with pytest.raises(InputError, match="does not run on ONNX Runtime") as refused:
        load(one.spec, one.weights)
    assert "\n" not in str(refused.value)


def test_more_nodes_than_any_net_has_are_refused(tmp_path, monkeypatch):
    path = written(tmp_path)
    count = sum(1 for _ in onnx_file._walk(onnx_file._parsed(path, path.read_bytes())))
    monkeypatch.setattr(onnx_file, "MOST_MESSAGES", count - 1)
    with pytest.raises(InputError, match=r"more than .* nodes and tensors: refused"):
        facts(path)


MIXING = [  # each answer less the mean of the batch
    helper.make_node("Flatten", ["pixels"], ["flat"]),
    helper.make_node("MatMul", ["flat", "weights"], ["raw"]),
    helper.make_node("ReduceMean", ["raw", "batch_axis"], ["mean"]),
    helper.make_node("Sub", ["raw", "mean"], ["logits"]),
]
AXIS = numpy_helper.from_array(np.array([0], np.int64), "batch_axis")


@pytest.mark.parametrize("batch", ["batch", 3])
def test_answers_that_depend_on_other_pictures_are_refused(batch, tmp_path):
    graph = {"nodes": MIXING, "initializer": [weights(), AXIS]}
    path = written(tmp_path, flatten_and_multiply(batch, **graph))
    [one] = choose("digits", [f"onnx:{path}"])
    with pytest.raises(InputError, match="depends on the other pictures of the batch"):
        load(one.spec, one.weights)


def test_a_batch_gets_no_more_memory_than_the_trial_has(tmp_path, monkeypatch):
    given = []

    def run(line, **how):
        given.append(int(line[-1]))
        return subprocess.CompletedProcess(line, 0, f"{line[-2]} {CLASSES} 0", "")

    monkeypatch.setattr(subprocess, "run", run)
    [one] = choose("digits", [f"onnx:{written(tmp_path, flatten_and_multiply(1 << 20))}"])
    load(one.spec, one.weights)
    assert given[0] < 11 << 30


def test_its_json_is_that_of_a_program(tmp_path):
    path = written(tmp_path)
    [one] = choose("digits", [f"onnx:{path}"])
    assert (one.name, one.spec.family, one.spec.classes) == ("net", "onnx_program", CLASSES)
    assert (one.weights.trained_on, one.weights.trained_on_source) == (("train",), "stated")
    path.with_suffix(".json").write_text(json.dumps(ABOUT | {"classes": 9}))
    with pytest.raises(InputError, match="gives 10 classes but its JSON says 9"):
        choose("digits", [f"onnx:{path}"])
    with pytest.raises(InputError, match=r"is no ONNX model: give onnx:PATH.onnx"):
        choose("digits", [f"onnx:{path.with_suffix('.json')}"])
