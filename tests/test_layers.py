"""Imports flow cascade_cli → stages → cache, and the half that needs no torch imports none."""

from __future__ import annotations

import ast
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
CPU_ONLY = (
    *(
        "cache",
        "stages.cascade",
        "stages.scores.softmax",
        "stages.scores.table",
        "stages.threshold.fit_images",
        "stages.threshold.stage",
    ),
    *(
        "stages.heterogeneity.pairwise",
        "stages.simulate.stage",
        "stages.results",
        "stages.ingest.logits",
    ),
    *(
        "stages.policy.file",
        "stages.policy.checking",
        "stages.publish.stage",
        "stages.publish.wide_table",
        "stages.policy.runtime",
    ),
    *("stages.deferral", "stages.calibration.metrics", "stages.statistics"),
    *(
        "stages.deferral.stage",
        "stages.calibration.stage",
        "stages.threshold.margin",
        "stages.heterogeneity.prediction",
    ),
    *("stages.models", "stages.datasets", "stages.report", "examples.kinnas2024.figures"),
    *("stages.plugins", "stages.scores.registry", "stages.scores.plugin_scores", "stages.energy"),
    "cascade_cli.main",
)
HEAVY = ("torch", "torchvision", "PIL", "imagehash", "pynvml", "safetensors")
BLOCKER = """
import importlib, importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(name + " is not installed")

sys.meta_path.insert(0, Blocker())
for name in {modules!r}:
    importlib.import_module(name)
assert not set(sys.modules) & set({unwanted!r}), sorted(set(sys.modules) & set({unwanted!r}))
print("imported")
"""


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
    assert len(FILES) > 30
    assert set(_imports(ROOT / "stages" / "score.py")) >= {"cache", "stages", "numpy", "pyarrow"}


def test_the_rule_needs_numpy_only():
    outside = set(_imports(ROOT / "stages" / "cascade" / "rule.py"))
    assert outside - set(sys.stdlib_module_names) == {"numpy", "stages"}
    outside = set(_imports(ROOT / "stages" / "softmax.py"))
    assert outside - set(sys.stdlib_module_names) == {"numpy"}


def _import_without(heavy, modules, unwanted=()):
    code = BLOCKER.format(heavy=tuple(heavy), modules=tuple(modules), unwanted=tuple(unwanted))
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_cpu_half_imports_without_torch_or_pillow():
    done = _import_without(HEAVY, CPU_ONLY)
    assert done.stdout == "imported\n", done.stderr


def test_the_blocker_blocks():
    done = _import_without(HEAVY, ["stages.extract"])
    assert "torch is not installed" in done.stderr


def test_the_command_lines_module_imports_nothing_heavy():
    """`cascade --help` is quick because only a command that is run imports what it needs."""
    unwanted = (*HEAVY, "numpy", "polars", "pyarrow", "sklearn", "altair")
    done = _import_without((), ["cascade_cli.main"], unwanted)
    assert done.stdout == "imported\n", done.stderr
