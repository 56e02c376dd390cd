"""Several modules as one file that imports none of them: what some names need, and no more.

Each definition is taken from its module's source as it stands, so there is one source of truth.
Where two modules use one private name, the later module's is renamed.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path

OURS = ("cache", "stages")
_NAMED = (ast.FunctionDef, ast.ClassDef)


def flatten(wanted: Mapping[str, Iterable[str]]) -> str:
    """Python source that defines these names ({module: names}) and all that they need.

    ValueError where the names of two modules would become one.
    """
    found = _Definitions()
    for module, names in wanted.items():
        for name in names:
            found.want(module, name)
    taken = {name for _, _, name in found.outside}
    bodies = []
    for each in found.ordered():
        clashing = each.wanted & taken
        public = sorted(name for name in clashing if not name.startswith("_"))
        if public:
            raise ValueError(f"{each.name}.{public[0]} is the name of something else, too")
        bodies.append(each.text({name: _renaming(each.name, name) for name in clashing}))
        taken |= each.wanted
    return "\n\n\n".join([found.imports(), *bodies]) + "\n"


def _renaming(module: str, name: str) -> str:
    short = module.rpartition(".")[2]
    return f"_{short.upper() if name.isupper() else short}{name}"


@dataclass
class _Module:
    """A module's source, and which of its top-level names are wanted."""

    name: str
    wanted: set[str] = field(default_factory=set)

    @cached_property
    def source(self) -> str:
        module = importlib.import_module(self.name)
        stub = Path(str(module.__file__)).with_suffix(".pyi")  # where a face has its names
        return stub.read_text("utf-8") if stub.exists() else inspect.getsource(module)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def defined(self) -> dict[str, ast.stmt]:
        """Top-level name → the statement that defines it."""
        return {name: node for node in self.tree.body for name in _bound(node)}

    @cached_property
    def imported(self) -> dict[str, tuple[str, str | None]]:
        """Name → (module, the name there), None for a module itself."""
        found: dict[str, tuple[str, str | None]] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Import):
                found |= {each.asname or each.name: (each.name, None) for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
                module = f"{self.name}.{node.module}" if node.level else str(node.module)
                found |= {each.asname or each.name: (module, each.name) for each in node.names}
        return found

    def used_by(self, name: str) -> list[str]:
        """The names that a definition mentions, anywhere in it."""
        nodes = ast.walk(self.defined[name])
        return sorted({node.id for node in nodes if isinstance(node, ast.Name)} - {name})

    def text(self, renamed: Mapping[str, str]) -> str:
        """The wanted definitions in their order, with the comments above them."""
        out, last, lines = "", None, self.source.splitlines()
        for node in self.tree.body:
            if self.wanted.isdisjoint(_bound(node)):
                continue
            apart = isinstance(node, _NAMED) or isinstance(last, _NAMED)
            out += "" if last is None else "\n\n\n" if apart else "\n"
            out += "\n".join(lines[_first_line(node, lines) : node.end_lineno])
            last = node
        for name, other in renamed.items():  # a definition, which no attribute of anything is
            out = re.sub(rf"(?<![\w.]){name}\b", other, out)
        return out


@dataclass
class _Definitions:
    """The definitions that are needed, by module, and what comes from elsewhere."""

    modules: dict[str, _Module] = field(default_factory=dict)
    outside: set[tuple[str, str | None, str]] = field(default_factory=set)

    def want(self, module: str, name: str) -> None:
        """Add a definition and what it needs, wherever modules pass it on from."""
        here = self.modules.setdefault(module, _Module(module))
        if name in here.wanted:
            return
        if name in here.defined:
            here.wanted.add(name)
            for each in here.used_by(name):
                if each in here.defined or each in here.imported:
                    self.want(module, each)
            return
        source, original = here.imported[name]
        if _top(source) not in OURS:
            self.outside.add((source, original, name))
        elif original != name:
            raise ValueError(f"{here.name} knows {source}.{original} by another name, {name}")
        else:
            self.want(source, name)

    def ordered(self) -> list[_Module]:
        """Each module after those it imports from."""
        sources = {
            name: sorted({source for source, _ in module.imported.values()} & self.modules.keys())
            for name, module in self.modules.items()
        }
        ordered = map(self.modules.__getitem__, TopologicalSorter(sources).static_order())
        return [module for module in ordered if module.wanted]

    def imports(self) -> str:
        """Import statements, the standard library's first."""
        standard = {each for each in self.outside if _top(each[0]) in sys.stdlib_module_names}
        groups = [_statements(standard), _statements(self.outside - standard)]
        return "\n\n".join(["from __future__ import annotations", *filter(None, groups)])


def _top(module: str) -> str:
    return module.partition(".")[0]


def _statements(imported: set[tuple[str, str | None, str]]) -> str:
    """Those of whole modules, then those from modules."""
    whole: list[str] = []
    parts: dict[str, list[str]] = {}
    for source, original, name in sorted(imported, key=lambda each: (each[0], each[2])):
        known = original or source
        short = name if name == known else f"{known} as {name}"
        if original is None:
            whole.append(f"import {short}")
        else:
            parts.setdefault(source, []).append(short)
    named = [f"from {source} import {', '.join(names)}" for source, names in parts.items()]
    return "\n".join([*whole, *named])


def _bound(node: ast.stmt) -> list[str]:
    """The names that a top-level statement defines."""
    if isinstance(node, _NAMED):
        return [node.name]
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        inside = (each for target in targets for each in ast.walk(target))
        return [each.id for each in inside if isinstance(each, ast.Name)]
    return []


def _first_line(node: ast.stmt, lines: list[str]) -> int:
    """Index of the line where a definition begins, decorators and comments included."""
    decorators = node.decorator_list if isinstance(node, _NAMED) else []
    first = min([node.lineno, *(each.lineno for each in decorators)]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return first
