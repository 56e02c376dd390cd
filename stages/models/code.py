"""The code of a package's model, so that logits of an older one are not taken for its own."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

from cache import digest
from stages.models.factory import family, is_ours
from stages.models.spec import ModelSpec


def code_of(spec: ModelSpec) -> str | None:
    """A digest of the module that builds a package's model, and of the options that it is given.

    Statements that make a ModelSpec do not count: what they say of size and training may change
    and the logits stay. None for a model of `stages.models`, whose code is this version's.
    """
    if is_ours(spec):
        return None
    file = Path(family(spec).__file__ or "")
    found = file.read_bytes() if file.is_file() else b""
    if file.suffix == ".py":
        found = _without_specs(found)
    options = json.dumps(dict(spec.options), sort_keys=True, default=_name)
    return digest([hashlib.sha256(found).hexdigest(), options])


def _name(found: object) -> str:
    """Of a function or class among the options, or of what an object is."""
    return str(getattr(found, "__qualname__", type(found).__qualname__))


def _without_specs(source: bytes) -> bytes:
    lines = source.splitlines()
    for statement in reversed(ast.parse(source).body):
        if any(_makes_spec(node) for node in ast.walk(statement)):
            del lines[statement.lineno - 1 : statement.end_lineno]
    return b"\n".join(lines)


def _makes_spec(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and "ModelSpec" in (
        getattr(node.func, "id", None),
        getattr(node.func, "attr", None),
    )
