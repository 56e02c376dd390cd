"""How the product's tree is built: one line per measure, with its figure and its limit.

    python -m tools.measure_tree [--list NAME]

Run from the repository root. Exit 1 where a figure is over its limit. `--list` prints what counts
towards one measure. Code is lines without blanks, comments and docstrings; what raises its limit is
a new capability, in the commit that brings it.
"""

from __future__ import annotations

import ast
import io
import math
import re
import statistics
import sys
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

LAYERS = ("cache", "stages", "cascade_cli")  # imports point to the left
LONGEST_FUNCTION, MOST_PARAMETERS = 60, 8
CODE_LINES_AT_039EA6E = 28_386  # of the commit that the rebuilding began from
CODE_LINES_SINCE = 11_500
DEF = (ast.FunctionDef, ast.AsyncFunctionDef)
NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}
REASON = re.compile(r"#(?!\s*(noqa|type:|pragma))")  # a note to a linter is no reason
OPTION = re.compile(r"Annotated\[|: opt\.")
UNTYPED = ("dict[str, Any]", "Dict[str, Any]")

Place = tuple[str, int]  # what counts, with its file:line, and how much it counts


class Module:
    """One file: its syntax, and the numbers of the lines that hold code and reasons."""

    def __init__(self, path: str, source: str) -> None:
        self.path, self.tree = path, ast.parse(source)
        self.name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.layer, inner = path.split("/")[:2]
        # The package directly below the top one; a flat module stands for itself.
        self.room = f"{self.layer}/{inner}"
        self.nodes = list(ast.walk(self.tree))
        froms = self.of(ast.ImportFrom)
        self.taken = {each.asname or each.name for node in froms for each in node.names}
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
        self.reasons = {each.start[0] for each in tokens if REASON.match(each.string)}
        filled = {i for i, line in enumerate(source.split("\n"), 1) if line.strip()}
        spans = [_lines(t.start[0], t.end[0]) for t in tokens if t.type not in NO_CODE]
        self.code = filled.intersection(set().union(*spans)).difference(*self._docstrings())

    def _docstrings(self) -> Iterator[set[int]]:
        for node in self.of(ast.Module, ast.ClassDef, *DEF):
            if ast.get_docstring(node) is not None:
                yield _lines(node.body[0].lineno, node.body[0].end_lineno)

    def of(self, *kinds: type[ast.AST]) -> list[ast.AST]:
        return [node for node in self.nodes if isinstance(node, kinds)]

    def at(self, node: ast.AST, text: str = "", amount: int = 1) -> Place:
        return f"{self.path}:{node.lineno} {text}".rstrip(), amount


def _lines(first: int, last: int) -> set[int]:
    return set(range(first, last + 1))


class Tree:
    """The product below a folder; `imports` are (module, statement, when, target)."""

    def __init__(self, root: Path) -> None:
        paths = sorted(path for layer in LAYERS for path in (root / layer).rglob("*.py"))
        files = [(path.relative_to(root).as_posix(), path.read_text("utf-8")) for path in paths]
        self.modules = [Module(*file) for file in files]
        self.lengths = [(module.path, len(module.code)) for module in self.modules]
        self.functions = [(module, f) for module in self.modules for f in module.of(*DEF)]
        self.statements = [(m, *each) for m in self.modules for each in _statements(m.tree)]
        names = {module.name: module for module in self.modules}
        self.imports = [
            (*statement, names[target])
            for statement in self.statements
            for target in dict.fromkeys(_targets(*statement[:2], names))
        ]


def _statements(node: ast.AST, when: str = "") -> Iterator[tuple[ast.AST, str]]:
    """(import statement, why it does not run when its module is imported, or nothing)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, when
        else:
            typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            inner = "in a function" if isinstance(child, DEF) else "for types" * typing
            yield from _statements(child, inner or when)


def _targets(source: Module, node: ast.AST, modules: dict[str, Module]) -> Iterator[str]:
    """The product's modules that a statement names, without the packages on the way."""
    base = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
    for name in [base + alias.name for alias in node.names]:
        parent, _, last = name.rpartition(".")
        # A face may have a function named as the module that it takes it from.
        face = modules.get(parent) if base else None
        shadowed = face is not None and face.room != source.room and last in face.taken
        yield from [each for each in (name, parent)[shadowed:] if each in modules][:1]


def flat_modules(tree: Tree) -> list[Place]:
    flat = [m.path for m in tree.modules if m.layer == "stages" and m.path == m.room]
    return [(path, 1) for path in flat if not path.endswith("/__init__.py")]


def circles(tree: Tree, kind: str = "path", late: bool = True) -> Iterator[Place]:
    """Groups of files, or of rooms, that reach each other, with the arrows between them."""
    graph: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for module, node, when, target in tree.imports:
        ends = getattr(module, kind), getattr(target, kind)
        if ends[0] != ends[1] and (late or not when):
            graph[ends[0]][ends[1]].append(module.at(node, f"→ {target.path} {when}")[0])
    reach = {node: _reachable(graph, node) for node in list(graph)}
    groups = {frozenset(n for n in reach[m] if m in reach.get(n, ())) for m in reach}
    for group in sorted(filter(None, groups), key=sorted):
        arrows = [where for one in group for other in group for where in graph[one][other]]
        yield "\n      ".join([" ↔ ".join(sorted(group)), *sorted(arrows)]), 1


def _reachable(graph: dict[str, dict[str, list[str]]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        new = set(graph.get(ahead.pop(), ())) - seen
        seen |= new
        ahead += new
    return seen


def arrows_upward(tree: Tree) -> Iterator[Place]:
    for module, node, _, target in tree.imports:
        if LAYERS.index(module.layer) < LAYERS.index(target.layer):
            yield module.at(node, f"→ {target.path}")


def past_a_face(tree: Tree) -> Iterator[Place]:
    """Imports of a module inside a room of stages or cache, from outside that room."""
    for module, node, _, target in tree.imports:
        face = target.path in (target.room, f"{target.room}/__init__.py")
        if not face and module.room != target.room and target.layer != "cascade_cli":
            yield module.at(node, f"→ {target.path}")


def repeated_classes(tree: Tree) -> list[Place]:
    places = defaultdict(list)
    for module in tree.modules:
        for node in module.of(ast.ClassDef):
            places[node.name].append(module.at(node)[0])
    return [(f"{name}: {', '.join(at)}", 1) for name, at in places.items() if len(at) > 1]


def untyped_dicts(tree: Tree) -> Iterator[Place]:
    """Each `dict[str, Any]` in stages/, and each use in an annotation of a name for one."""
    aliases = _aliases(tree)
    for module in [each for each in tree.modules if each.layer == "stages"]:
        yield from (module.at(n) for n in module.of(ast.Subscript) if ast.unparse(n) in UNTYPED)
        for node in module.of(ast.arg, ast.AnnAssign, *DEF):
            annotation = node.returns if isinstance(node, DEF) else node.annotation
            for name in ast.walk(annotation) if annotation else ():
                if isinstance(name, ast.Name) and (module.name, name.id) in aliases:
                    yield module.at(name, name.id)


def _aliases(tree: Tree) -> set[tuple[str, str]]:
    """(module, name) of each module-level name for a `dict[str, Any]`, imported ones too."""
    aliases: set[tuple[str, str]] = set()
    before = -1
    while before != (before := len(aliases)):
        for module in tree.modules:
            for node in module.tree.body:
                value = getattr(node, "value", None)
                target = ast.unparse(getattr(node, "targets", [ast.Name("")])[0])
                if isinstance(value, ast.Subscript) and ast.unparse(value) in UNTYPED:
                    aliases.add((module.name, target))
            for node in module.of(ast.ImportFrom):
                for each in node.names:
                    if (node.module, each.name) in aliases:
                        aliases.add((module.name, each.asname or each.name))
    return aliases


def late_imports(tree: Tree, without_reason: bool = False) -> Iterator[Place]:
    """Those in functions of the command line; a reason is a comment on the line or above."""
    for module, node, when in tree.statements:
        if module.layer == "cascade_cli" and when == "in a function":
            above = {node.lineno - 1} - module.code
            reason = module.reasons & (above | _lines(node.lineno, node.end_lineno))
            if not (without_reason and reason):
                yield module.at(node)


def long_functions(tree: Tree) -> Iterator[Place]:
    for module, f in tree.functions:
        if (length := f.end_lineno - f.lineno + 1) > LONGEST_FUNCTION:
            yield module.at(f, f"{f.name}: {length} lines")


def many_parameters(tree: Tree) -> Iterator[Place]:
    """Beside commands, which take options of the command line; self is not counted."""
    for module, f in tree.functions:
        every = [node for node in ast.iter_child_nodes(f.args) if isinstance(node, ast.arg)]
        count = sum(each.arg not in ("self", "cls") for each in every)
        command = "cascade_cli/commands/" in module.path or OPTION.search(ast.unparse(f.args))
        if count > MOST_PARAMETERS and not command:
            yield module.at(f, f"{f.name}: {count} parameters")


def function_lengths(tree: Tree) -> Iterator[Place]:
    for module, f in tree.functions:
        yield module.at(f, f.name, len(module.code & _lines(f.lineno, f.end_lineno)))


def ninetieth(lengths: list[int]) -> int:
    return sorted(lengths)[math.ceil(0.9 * len(lengths)) - 1]


# Name: (limit, what counts, the figure from how much each counts).
MEASURES: dict[str, tuple[int, Callable[[Tree], Iterable[Place]], Callable]] = {
    "flat-modules": (5, flat_modules, sum),
    "circles": (0, circles, sum),
    "circles-at-import": (0, lambda tree: circles(tree, late=False), sum),
    "room-circles": (0, lambda tree: circles(tree, "room"), sum),
    "arrows-upward": (0, arrows_upward, sum),
    "past-a-face": (0, past_a_face, sum),
    "repeated-classes": (0, repeated_classes, sum),
    "untyped-dicts": (30, untyped_dicts, sum),
    "late-imports": (20, late_imports, sum),
    "late-imports-without-reason": (0, lambda tree: late_imports(tree, True), sum),
    "long-functions": (0, long_functions, sum),
    "many-parameters": (5, many_parameters, sum),
    "code-lines": (
        CODE_LINES_AT_039EA6E - 2_000 + CODE_LINES_SINCE,
        lambda tree: tree.lengths,
        sum,
    ),
    "function-median": (8, function_lengths, statistics.median),
    "function-90th-percentile": (20, function_lengths, ninetieth),
}


def figures(tree: Tree) -> dict[str, float]:
    return {name: of([n for _, n in places(tree)]) for name, (_, places, of) in MEASURES.items()}


def main(words: list[str], root: Path = Path()) -> int:
    tree = Tree(root)
    if words:
        print(*(f"{n:5} {text}" for text, n in MEASURES[words[-1]][1](tree)), sep="\n")
        return 0
    found = figures(tree)
    for name, figure in found.items():
        limit = MEASURES[name][0]
        print(f"{name:28}{figure:8g}  limit {limit:6}  {'ok' if figure <= limit else 'over'}")
    return int(any(figure > MEASURES[name][0] for name, figure in found.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
