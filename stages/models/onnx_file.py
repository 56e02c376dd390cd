"""An ONNX file, read so that nothing in it is loaded or run.

Its checker passes absurd sizes, older ONNX Runtimes follow external data anywhere, and all of them
follow hard links. So the file is looked through first, with protobuf, which ONNX Runtime brings,
and the fields of onnx.proto that matter: every tensor, shape and operator in all graphs, subgraphs
and functions. What only shows when it runs (a shape that is computed) is left to
`OnnxModel.tried`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cache import InputError, read_bytes
from stages.runtimes import OnnxModel, not_installed

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
LARGEST_FILE = (1 << 31) - 1  # as protobuf has it
LARGEST = 1 << 29  # numbers of a tensor: 2 GiB of float32
# Far beyond the nets of torchvision and timm, which have up to some ten thousand messages.
MOST_MESSAGES, MOST_DIMENSIONS = 1_000_000, 64
_FLOAT, _FLOATS = 1, (1, 10, 11, 16)
_INT8 = (
    "QuantizeLinear",
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "DynamicQuantizeLinear",
)
# Operators whose output is as large as the numbers of this input say.
_SIZED_BY = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Resize": 3, "Upsample": 1}
# Of onnx.proto: message → field → its number, * where it repeats, and type.
_FIELDS = {
    "Model": "graph 7 Graph, training_info 20* Training, functions 25* Function",
    "Training": "initialization 1 Graph, algorithm 2 Graph",
    "Function": "name 1 string, node 7* Node, domain 10 string, attribute_proto 11* Attribute, "
    "value_info 12* Value",
    "Graph": "node 1* Node, initializer 5* Tensor, input 11* Value, output 12* Value, "
    "value_info 13* Value, sparse_initializer 15* Sparse",
    "Node": "input 1* string, output 2* string, op_type 4 string, attribute 5* Attribute, "
    "domain 7 string",
    "Attribute": "name 1 string, t 5 Tensor, g 6 Graph, ints 8* int64, tensors 10* Tensor, "
    "graphs 11* Graph, tp 14 Type, type_protos 15* Type, sparse_tensor 22 Sparse, "
    "sparse_tensors 23* Sparse",
    "Tensor": "dims 1* int64, data_type 2 int32, int64_data 7* int64, name 8 string, "
    "raw_data 9 bytes, external_data 13* Entry, data_location 14 int32",
    "Entry": "key 1 string, value 2 string",
    "Sparse": "values 1 Tensor, indices 2 Tensor, dims 3* int64",
    "Value": "name 1 string, type 2 Type",
    "Type": "tensor_type 1 TensorType, sequence_type 4 Element, map_type 5 Map, "
    "sparse_tensor_type 8 TensorType, optional_type 9 Element",
    "Element": "elem_type 1 Type",
    "Map": "value_type 2 Type",
    "TensorType": "elem_type 1 int32, shape 2 Shape",
    "Shape": "dim 1* Dim",
    "Dim": "dim_value 1 int64, dim_param 2 string",
}


def facts(path: Path) -> OnnxModel:
    """InputError for anything but a harmless classifier of pictures."""
    try:
        there = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): check the path") from error
    if there.st_size > LARGEST_FILE:
        raise _refused(path, f"{there.st_size >> 20} MiB of data")
    return _facts(path, there.st_size, there.st_mtime_ns)


@lru_cache(maxsize=64)
def _facts(path: Path, size: int, changed: int) -> OnnxModel:
    """As long as the file stays the same."""
    model = _parsed(path, read_bytes(path, LARGEST_FILE))
    messages = list(islice(_walk(model), MOST_MESSAGES + 1))
    if len(messages) > MOST_MESSAGES:
        raise _refused(path, f"more than {MOST_MESSAGES:,} nodes and tensors")
    by_kind: dict[str, list[Any]] = {name: [] for name in _FIELDS}
    for each in messages:
        by_kind[each.DESCRIPTOR.name].append(each)
    tensors = by_kind["Tensor"]
    for each in (*tensors, *by_kind["Sparse"]):
        _bounded(path, each.dims)
    for shape in by_kind["Shape"]:
        _bounded(path, [dim.dim_value for dim in shape.dim])
    _check_operators(path, by_kind)
    files = tuple(sorted({_external(path, each) for each in tensors if _is_external(each)}))
    whole = size + sum(each.stat().st_size for each in files)
    if whole > 2 * LARGEST_FILE:
        raise _refused(path, f"{whole >> 20} MiB of data")
    ends, parameters = _ends(path, model.graph), _parameters(model.graph, by_kind["Node"])
    quantised = any(each.op_type in _INT8 for each in by_kind["Node"])
    return OnnxModel(path, *ends, parameters, whole, files, quantised)


def _parameters(graph: Any, nodes: list[Any]) -> int:
    """Numbers of the weights, in float or quantised; not the scales of these."""
    stored = {each.input[0] for each in nodes if each.op_type == "DequantizeLinear" and each.input}
    scales = {each for node in nodes if node.op_type in _INT8 for each in node.input[1:]}
    return sum(
        prod(each.dims)
        for each in graph.initializer
        if each.name in stored or (each.data_type in _FLOATS and each.name not in scales)
    )


def _parsed(path: Path, data: bytes) -> Any:
    kind, failure = _messages()
    try:
        return kind.FromString(data)
    except (failure, ValueError) as error:
        raise InputError(f"{path} is no whole ONNX file ({error}): export it again") from error


@lru_cache(maxsize=1)
def _messages() -> tuple[Any, type[Exception]]:
    """Model's class, made of _FIELDS, and what its parser raises."""
    try:  # here, as only who reads such a file needs it
        from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
    except ImportError as error:
        raise not_installed("ONNX Runtime", "onnx") from error
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="cascade_onnx.proto", package="cascade_onnx")
    for name, fields in _FIELDS.items():
        into = file.message_type.add(name=name)
        for word in fields.split(", "):
            label, number, kind = word.split()
            made = into.field.add(name=label, number=int(number.rstrip("*")))
            made.label = field.LABEL_REPEATED if "*" in number else field.LABEL_OPTIONAL
            if kind in _FIELDS:
                made.type, made.type_name = field.TYPE_MESSAGE, f".cascade_onnx.{kind}"
            else:
                made.type = getattr(field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("cascade_onnx.Model")
    return message_factory.GetMessageClass(found), message.DecodeError


def _walk(message: Any) -> Iterator[Any]:
    """The message and all within it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from _walk(each)


def _check_operators(path: Path, by_kind: dict[str, list[Any]]) -> None:
    """Of known domains, or functions of the file itself; no output of an absurd size."""
    own = {(each.domain, each.name) for each in by_kind["Function"]}
    constants: dict[str, list[list[int]]] = {}
    for tensor in by_kind["Tensor"]:
        constants.setdefault(tensor.name, []).append(_numbers(tensor))
    for node in by_kind["Node"]:
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in own:
            raise _refused(path, f"the operator {node.op_type[:40]!a} of {node.domain[:40]!a}")
        for each in node.attribute if node.op_type == "Constant" else ():
            found = _numbers(each.t) if each.name == "value" else list(each.ints)
            constants.setdefault(node.output[0] if node.output else "", []).append(found)
    for node in by_kind["Node"]:
        at = _SIZED_BY.get(node.op_type, len(node.input))
        for sizes in constants.get(node.input[at], ()) if at < len(node.input) else ():
            _bounded(path, map(abs, sizes))
        for each in node.attribute:
            if each.name == "shape":
                _bounded(path, each.ints)


def _numbers(tensor: Any) -> list[int]:
    """Of a short tensor of int64, as shapes are; of another none."""
    if tensor.data_type != 7 or prod(tensor.dims) > 64:
        return []
    if len(tensor.raw_data) % 8:
        return []
    return [*tensor.int64_data, *np.frombuffer(tensor.raw_data, "<i8").tolist()]


def _bounded(path: Path, sizes: Any) -> None:
    found = list(islice(sizes, MOST_DIMENSIONS + 1))
    if len(found) > MOST_DIMENSIONS:
        raise _refused(path, f"a tensor of more than {MOST_DIMENSIONS} dimensions")
    if any(size < 0 for size in found) or prod(found) > LARGEST:
        raise _refused(path, f"a tensor of {'×'.join(map(str, found))[:60]}")


def _is_external(tensor: Any) -> bool:
    return bool(tensor.external_data or tensor.data_location)


def _external(path: Path, tensor: Any) -> Path:
    """The file beside the model that a tensor lies in, where it may and can be read."""
    about = {entry.key: entry.value for entry in tensor.external_data}
    place = about.get("location", "")
    what = f"external data in {place[:60]!a}"
    if not place or os.path.isabs(place) or ".." in Path(place).parts:
        raise _refused(path, what)
    found, folder = path.parent / place, path.parent.resolve()
    try:
        there = found.lstat()
        start, length = (int(about.get(key) or 0) for key in ("offset", "length"))
        inside = found.resolve() == folder / place
    except (OSError, ValueError) as error:
        raise _refused(path, f"{what}, which cannot be read") from error
    if not inside or not stat.S_ISREG(there.st_mode) or there.st_nlink != 1:
        raise _refused(path, f"{what}, which is a link or no file")
    if start < 0 or length < 0 or start + length > there.st_size:
        raise _refused(path, f"{what}, which is shorter")
    return found


def _ends(path: Path, graph: Any) -> tuple[tuple[int, int, int], int, int | None, int]:
    """Shape of a picture, smallest and largest batch, classes."""
    given = {each.name for each in graph.initializer}  # old files list them among the inputs
    inputs = [each for each in graph.input if each.name not in given]
    ends = [each.type.tensor_type for each in (*inputs, *graph.output)]
    shapes = [[dim.dim_value for dim in end.shape.dim] for end in ends]
    if len(inputs) != 1 or len(shapes) != 2 or [len(shape) for shape in shapes] != [4, 2]:
        raise InputError(
            f"{path} does not map one batch [B, C, H, W] to [B, classes]: export such a model"
        )
    (batch, *taken), (given_back, classes) = shapes
    if {end.elem_type for end in ends} != {_FLOAT} or 0 in (*taken, classes):
        raise InputError(
            f"{path} does not take and give float32 with only the batch free: export such a model"
        )
    if batch != given_back and given_back:
        raise InputError(f"{path} does not give a row per picture: export such a model")
    return (taken[0], taken[1], taken[2]), batch or 1, batch or None, classes


def _refused(path: Path, what: str) -> InputError:
    return InputError(f"{path} holds {what}: refused, export a plain model again")
