"""A torch.export archive (.pt2), read so that nothing in it is ever executed.

`torch.export.load` trusts its file: it unpickles, evaluates sizes and guards as Python, looks up
operators by any dotted name and loads compiled libraries. So the archive is vetted first, with the
standard library alone: known members, stored as they are; no pickled weights; in the graph only
ATen's operators, plain names and plain arithmetic of sizes. What torch is then given is a copy
without metadata and without guards, which the graph's own sizes say again.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from cache import InputError

GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"
_PAYLOAD = re.compile(r"(weight|tensor)_\d+")
_MEMBER = re.compile(
    r"data/(weights/weight|constants/tensor)_\d+|archive_(format|version)|byteorder|version"
    r"|\.data/(version|serialization_id)|\.format_version|\.storage_alignment"
)
_NAME = re.compile(r"[A-Za-z0-9_.+]*")  # as code it can only look up an attribute
_MODE = re.compile(r"[a-z_]{0,20}")  # of an operator, such as "constant": never a path
_MESSAGE = re.compile(r"[ -~]{0,1000}")
_ASSERTIONS = ("torch.ops.aten._assert_scalar.default", "torch.ops.aten._assert_async.msg")
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!from_file\b|save\b|load\b)[A-Za-z0-9_]+\.[A-Za-z0-9_]+"
    r"|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_(int|float|max|min|not|ite|sqrt)"
)
_SIZE_TOKEN = re.compile(
    r"Symbol\('[a-z]\d+'(, (positive|integer|nonnegative)=True)*\)|[a-z]\d+\b|\b\d{1,18}\b"
    r"|\b(Add|Mul|Max|Min|FloorDiv|Mod|PythonMod|CleanDiv|Integer|floor|ceiling)(?=\()"
    r"|(?<!\*)[*](?!\*)|[(),+/ -]"
)
# What of a graph torch would interpret or run, and what stands in its place.
_EMPTY: dict[str, object] = {"metadata": {}, "guards_code": [], "treespec_namedtuple_fields": {}}
_CONTAINERS = ("builtins.tuple", "builtins.list", "builtins.dict", None)


@dataclass(frozen=True)
class Facts:
    """What an archive says of its program.

    `shape` is (channels, height, width) of its one input, `smallest` and `largest` its batch
    (None: without end), `classes` the length of its output's rows.
    """

    shape: tuple[int, int, int]
    smallest: int
    largest: int | None
    classes: int
    parameters: int


def facts(path: Path) -> Facts:
    """Read from the graph alone; InputError for anything but a classifier of pictures."""
    with _opened(path, whole=False) as members:
        return _facts(path, json.loads(members[GRAPH]), json.loads(members[WEIGHTS]))


def vetted(path: Path) -> tuple[io.BytesIO, bytes]:
    """The archive as `torch.export.load` may have it, if its sample inputs are but tensors.

    The second value is those inputs' pickle, for the caller to try with `weights_only` first.
    """
    copy = io.BytesIO()
    with _opened(path, whole=True) as members, zipfile.ZipFile(copy, "w") as written:
        for name, content in members.items():
            written.writestr(f"program/{name}", content)
        inputs = members[SAMPLES]
    copy.seek(0)
    return copy, inputs


@contextmanager
def _opened(path: Path, whole: bool) -> Iterator[dict[str, bytes]]:
    """The members, checked, with the tensors' own where `whole`; the graph without metadata."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = dict(_members(path, archive, whole))
        members[GRAPH] = json.dumps(_bare(json.loads(members[GRAPH]))).encode()
        _check_graph(path, json.loads(members[GRAPH]))
        for config in (WEIGHTS, CONSTANTS):
            _check_payloads(path, json.loads(members[config]))
        yield members
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise InputError(
            f"{path} is no whole torch.export archive ({error}): save it with torch.export.save"
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is not laid out as expected ({type(error).__name__}: {error}): export it "
            "again with torch 2.10 or newer"
        ) from error


def _members(path: Path, archive: zipfile.ZipFile, whole: bool) -> Iterator[tuple[str, bytes]]:
    for info in archive.infolist():
        name = info.filename.partition("/")[2]
        if name not in (GRAPH, WEIGHTS, CONSTANTS, SAMPLES) and not _MEMBER.fullmatch(name):
            raise _refused(path, "a member", info.filename)
        if info.compress_type != zipfile.ZIP_STORED:
            raise _refused(path, "a compressed member", info.filename)
        if whole or name in (GRAPH, WEIGHTS, CONSTANTS):
            yield name, archive.read(info)


def _bare(node: Any) -> Any:
    """The graph without metadata, which torch would interpret, and guards, which it would run."""
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {key: _EMPTY[key] if key in _EMPTY else _bare(value) for key, value in node.items()}


def _check_graph(path: Path, graph: Any) -> None:
    for key, text in _strings(graph):
        if not _is_plain(key, text):
            raise _refused(path, key or "a name", text)


def _is_plain(key: str, text: str) -> bool:
    if key in ("in_spec", "out_spec"):
        return _is_plain_tree(json.loads(text)[1]) if text else True
    if key == "expr_str":
        return len(text) < 10_000 and not _SIZE_TOKEN.sub("", text)
    return _RULES.get(key, _NAME).fullmatch(text) is not None


_RULES = {"target": _OPERATOR, "as_string": _MODE, "as_strings": _MODE, "message": _MESSAGE}


def _strings(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All strings with the key they stand under; keys themselves stand under none."""
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, list):
        for each in node:
            yield from _strings(each, key)
    elif isinstance(node, dict):
        asserts = node.get("target") in _ASSERTIONS
        for name, each in node.items():
            yield "", name
            found = _strings(each, name)
            yield from (
                ("message", t) if asserts and k == "as_string" else (k, t) for k, t in found
            )


def _is_plain_tree(tree: Any) -> bool:
    """Nested tuples, lists and dicts with plain keys, nothing that a type's own code restores."""
    context = json.loads(tree["context"] or "null") or []
    return (
        tree["type"] in _CONTAINERS
        and isinstance(context, list)
        and all(isinstance(key, str) and _NAME.fullmatch(key) for key in context)
        and all(_is_plain_tree(child) for child in tree["children_spec"])
    )


def _check_payloads(path: Path, config: Any) -> None:
    for name, payload in config["config"].items():
        if payload["use_pickle"] is not False or not _PAYLOAD.fullmatch(payload["path_name"]):
            raise _refused(path, "a pickled tensor or object", name)
        if not _NAME.fullmatch(name):
            raise _refused(path, "a name", name)


def _facts(path: Path, graph: Any, weights: Any) -> Facts:
    module = graph["graph_module"]
    values, signature = module["graph"]["tensor_values"], module["signature"]
    inputs = [each["user_input"] for each in signature["input_specs"] if "user_input" in each]
    outputs = signature["output_specs"]
    if len(inputs) != 1 or len(outputs) != 1 or "user_output" not in outputs[0]:
        raise InputError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs: export a model in eval "
            "mode that takes one batch of pictures and returns one tensor of logits"
        )
    taken = values[inputs[0]["arg"]["as_tensor"]["name"]]["sizes"]
    given = values[outputs[0]["user_output"]["arg"]["as_tensor"]["name"]]["sizes"]
    fixed = [size.get("as_int") for size in [*taken[1:], *given[1:]]]
    if len(taken) != 4 or len(given) != 2 or taken[0] != given[0] or None in fixed:
        raise InputError(
            f"{path} does not map [B, C, H, W] to [B, classes] with only the batch free: export "
            "such a model"
        )
    config = weights["config"].values()
    parameters = [each["tensor_meta"]["sizes"] for each in config if each["is_param"]]
    count = sum(prod(size["as_int"] for size in sizes) for sizes in parameters)
    smallest, largest = _batch(taken[0], graph["range_constraints"])
    return Facts((fixed[0], fixed[1], fixed[2]), smallest, largest, fixed[3], count)


def _batch(size: Any, ranges: Any) -> tuple[int, int | None]:
    if "as_int" in size:
        return size["as_int"], size["as_int"]
    symbols = re.findall(r"[a-z]\d+", size["as_expr"]["expr_str"])
    limits = ranges[symbols[0]] if len(symbols) == 1 else {}
    return max(limits.get("min_val") or 1, 1), limits.get("max_val")


def _refused(path: Path, what: str, found: str) -> InputError:
    return InputError(
        f"{path} holds {what} that could run code or is unknown ({found[:60]!a}): export a plain "
        "model with torch.export.save"
    )
