"""Imports flow cascade_cli → stages → cache, the half that needs no torch imports none, and each
room has one door: its face."""

from __future__ import annotations

import ast
import doctest
import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each package may import, beside the outside world.
LAYERS = {
    "cache": {"cache"},
    "stages": {"cache", "stages"},
    "cascade_cli": {"cache", "stages", "cascade_cli"},
    "examples": {"cache", "stages", "examples"},
}
OURS = {*LAYERS, "tests", "benchmarks", "tools"}
FILES = [path for package in LAYERS for path in sorted((ROOT / package).rglob("*.py"))]
# What runs models, and the architectures' code; the rest analyses.
NEEDS_TORCH = (
    *("stages.runtimes.torch_engine", "stages.runtimes.onnx_engine"),
    "stages.runtimes.tensorrt_engine",
    *("stages.runtimes.onnx_session", "stages.models"),
)
HEAVY = ("torch", "torchvision", "onnxruntime", "PIL", "imagehash", "pynvml", "safetensors")
WITHOUT = """
import importlib, sys

sys.modules |= dict.fromkeys({heavy!r})
for name in {modules!r}:
    importlib.import_module(name)
there = {{name for name, module in sys.modules.items() if module is not None}}
assert not there & set({unwanted!r}), sorted(there & set({unwanted!r}))
print("imported")
"""
FACES = sorted(stub.parent for stub in (*ROOT.glob("cache/**/*.pyi"), *ROOT.glob("stages/*/*.pyi")))
SHORT = [".".join(face.relative_to(ROOT).parts) for face in FACES]


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path):
    """Top-level names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    assert set(_imports(path)) & OURS <= LAYERS[package]


def test_the_files_were_found():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LAYERS)
    assert len(FILES) > 300
    table = ROOT / "stages" / "scores" / "table.py"
    assert set(_imports(table)) >= {"cache", "stages", "numpy", "pyarrow"}


def test_the_rule_needs_numpy_only():
    """A policy takes its text from both."""
    for file in ("cascade/rule.py", "scores/softmax.py"):
        outside = set(_imports(ROOT / "stages" / file)) - set(sys.stdlib_module_names)
        assert outside <= {"numpy", "stages"}


def _import_without(heavy, modules, unwanted=()):
    code = WITHOUT.format(heavy=tuple(heavy), modules=tuple(modules), unwanted=tuple(unwanted))
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_cpu_half_imports_without_torch_or_pillow():
    names = [module_of(path) for path in FILES if path.stem != "__main__"]
    light = [name for name in names if not name.startswith(NEEDS_TORCH)]
    assert len(light) > 230
    done = _import_without(HEAVY, light)
    assert done.stdout == "imported\n", done.stderr


def test_what_needs_torch_does():
    done = _import_without(HEAVY, ["stages.runtimes.torch_engine"])
    assert "import of torch halted" in done.stderr


@pytest.mark.parametrize("command", ["extract", "profile", "live"])
def test_boards_without_polars_can_run_these(command):
    names = (f"cascade_cli.commands.{command}", "stages.extract.stage", "stages.live.serving")
    inputs = [f"cascade_cli.inputs.{name}" for name in ("extraction", "live", "profiling")]
    done = _import_without(("polars",), [*names, *inputs], ("polars",))
    assert done.stdout == "imported\n", done.stderr


def test_the_command_lines_module_imports_nothing_heavy():
    """`cascade --help` is quick because only a command that is run imports what it needs."""
    unwanted = (*HEAVY, "numpy", "polars", "pyarrow", "sklearn", "altair")
    done = _import_without((), ["cascade_cli.main"], unwanted)
    assert done.stdout == "imported\n", done.stderr


def test_every_room_has_a_face():
    rooms = {path.parent for path in (ROOT / "stages").glob("*/__init__.py")}
    assert rooms | {ROOT / "cache" / name for name in ("", "locks", "storage", "upkeep")} == {
        *FACES
    }


@pytest.mark.parametrize("face", FACES, ids=SHORT)
def test_a_face_says_what_goes_in_and_comes_out(face):
    text = (face / "__init__.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 25
    doc = ast.get_docstring(ast.parse(text))
    assert "In: " in doc
    assert "Out: " in doc
    assert ">>> " in doc


@pytest.mark.parametrize("name", SHORT)
def test_all_names_of_a_face_are_there(name):
    room = importlib.import_module(name)
    names = (ROOT / "tests" / "faces.txt").read_text(encoding="utf-8").split("\n\n")
    listed = dict(each.strip().split(":\n") for each in names)
    assert " ".join(room.__all__) == " ".join(listed[name].split())
    if any(name.startswith(each) for each in ("stages.extract", "stages.runtimes")):
        pytest.importorskip("torch")
    for each in room.__all__:
        assert getattr(room, each) is not None


@pytest.mark.parametrize("name", SHORT)
def test_the_example_of_a_face_runs(name, tmp_path, monkeypatch):
    """In a folder with a cache, and a policy."""
    golden = ROOT / "tests" / "golden"
    shutil.copytree(golden / "cache", tmp_path / "artifacts")
    shutil.copytree(golden / "digits-policy", tmp_path / "policy")
    monkeypatch.chdir(tmp_path)
    room = importlib.import_module(name)
    found = doctest.testmod(room, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
