"""Datasets and layouts of other packages; the documentation's own example among them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from cache import InputError
from stages import plugins
from stages.datasets import (
    SPECS,
    check_known,
    listing,
    open_split,
    reopened,
    spec,
    spec as known_spec,
    splits,
)
from stages.notices import tell_once

DOCS = Path(__file__).parents[3] / "docs" / "extending.md"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """install(source, "module:attribute") makes the module importable and announces it."""
    entries: list[EntryPoint] = []
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [e for e in entries if e.group == group]
    )
    monkeypatch.syspath_prepend(tmp_path)

    def install(source: str, value: str) -> None:
        module = value.partition(":")[0]
        (tmp_path / f"{module}.py").write_text(source)
        entries.append(EntryPoint("ours", value, plugins.DATASETS))
        forget()

    def forget() -> None:
        plugins.loaded.cache_clear()
        known_spec.cache_clear()
        tell_once.cache_clear()

    yield install
    forget()
    for entry in entries:
        sys.modules.pop(entry.module, None)


def documented() -> str:
    """The Python block of the documentation that defines a layout."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if "Layout(" in block)


def test_the_documented_package_works(install, tmp_path: Path) -> None:
    install(documented(), "npy_images:ADDED")
    pictures = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    np.save(tmp_path / "test-images.npy", pictures)
    np.save(tmp_path / "test-labels.npy", np.array([0, 1, 1, 0]))
    assert splits("leaves", tmp_path) == ["test"]
    source = open_split("leaves", "test", tmp_path)
    np.testing.assert_array_equal(source.read(2), pictures[2])
    assert source.labels.tolist() == [0, 1, 1, 0]
    assert source.class_names == spec("leaves").class_names
    assert source.opening is not None
    assert reopened(source.opening).keys == source.keys
    assert "leaves" in {row.name for row in listing()}


def test_a_packages_layout_may_know_no_labels(install, tmp_path: Path) -> None:
    install(documented(), "npy_images:ADDED")
    np.save(tmp_path / "test-images.npy", np.zeros((4, 8, 8, 3), np.uint8))
    for labels in ([-1] * 4, [0, 1, 1, 0]):
        np.save(tmp_path / "test-labels.npy", np.array(labels))
        source = open_split("leaves", "test", tmp_path, unlabelled=True)
        assert (source.labels.tolist(), len(source.keys)) == ([-1] * 4, 4)
        np.testing.assert_array_equal(source.read(2), np.zeros((8, 8, 3)))
    np.save(tmp_path / "test-labels.npy", np.array([-1] * 4))
    with pytest.raises(InputError, match="--unlabelled"):
        open_split("leaves", "test", tmp_path)


def named(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of warning that came with the list of all known datasets."""
    assert [row.name for row in listing()][: len(SPECS)] == list(SPECS)
    [line] = capsys.readouterr().err.splitlines()
    return line


BROKEN = {
    "raise OSError('no\\nway')": "cannot add its cascade.datasets (broken:ADDED: OSError: no way)",
    "raise SystemExit(3)": "cannot add its cascade.datasets (broken:ADDED: SystemExit: 3)",
    "ADDED = [1]": "it gives a int, not a DatasetSpec or Layout",
    "ADDED = [replace(SPECS['cifar10'])]": "the dataset or layout cifar10, which is taken",
    "ADDED = [replace(GOOD, classes='two')]": "'new' has classes 'two', not int",
    "ADDED = [replace(GOOD, mean=[1.0])]": "'new' has mean [1.0], not tuple[float, ...]",
    "ADDED = [replace(GOOD, classes=2)]": "'new' has 10 class_names for 2 classes",
    "ADDED = [replace(GOOD, std=(1.0, 1.0, 0.0))]": "'new' has 3 means and 3 std",
    "ADDED = [replace(GOOD, name='../x')]": "has the name '../x'",
    "ADDED = [replace(GOOD, default_split='dev')]": "has the default_split 'dev', none of its",
    "ADDED = [Layout('l', 'x', 3, print)]": "its Layout 'l' has find 3, not Callable",
}
HEAD = """
from dataclasses import replace
from stages.datasets import Layout
from stages.datasets import SPECS
GOOD = replace(SPECS['cifar10'], name='new')
"""


@pytest.mark.parametrize("code", BROKEN)
def test_the_others_are_listed_beside_a_broken_package(code: str, install, capsys) -> None:
    install(HEAD + code, "broken:ADDED")
    line = named(capsys)
    assert line.startswith("package broken:ADDED")
    assert BROKEN[code] in line
    assert "new" not in {row.name for row in listing()}
    assert open_split("digits", "test").n_classes == 10
    assert spec("cifar10").classes == 10


def test_a_dataset_that_nothing_has_may_be_the_broken_packages(install) -> None:
    install("raise OSError('no way')", "broken:ADDED")
    with pytest.raises(InputError, match="package broken:ADDED cannot add its"):
        check_known("leaves", None)


def layout(body: str, found: str = "{'test': (data,)}") -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return f"""
import numpy as np
from stages.datasets import ArraySource, Layout

def find(data, dataset):
    return {found}

def make(n=150, labels=150, **more):
    given = dict(dataset="d", split="test", layout="odd", keys=[str(i) for i in range(labels)])
    given |= dict(labels=np.arange(labels, dtype=np.int32) % 3)
    return ArraySource(**given | dict(pictures=np.full((n, 8, 8), 7, np.uint8)) | more)

def open_it(request):
{lines}
ADDED = [Layout("odd", "anything", find, open_it)]
"""


FAILING = {
    "raise KeyError('x')": "its layout odd with d/test fails, KeyError: 'x'",
    "raise SystemExit(0)": "fails, SystemExit: 0",
    "return 3": "its layout odd gives a int, not a Source",
    "return make(labels=200)": "fails, ValueError: 150 pictures, 200 labels",
    "return make(keys=[0] * 150)": "its layout odd gives the key 0, not a str",
    "return make(labels=150, class_names=('a', 'b'))": "row 2 has label 2, expected 0 to 1 of the",
}


@pytest.mark.parametrize("body", FAILING)
def test_a_layout_that_fails_is_one_line_that_names_its_package(
    body: str, install, tmp_path: Path
) -> None:
    install(layout(body), "odd_one:ADDED")
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(InputError, match="package odd_one:ADDED") as error:
        open_split("d", "test", data)
    assert FAILING[body] in str(error.value)
    assert "\n" not in str(error.value)


PICTURES = {
    "1 / 0": "with picture 2 (2) fails, ZeroDivisionError: division by zero",
    "return None": "gives NoneType as picture 2, not uint8 [H, W(, 3)]",
    "return np.zeros((4, 4))": "gives float64 (4, 4) as picture 2",
    "return np.zeros((4, 4, 2), np.uint8)": "gives uint8 (4, 4, 2) as picture 2",
    "return np.zeros((0, 4), np.uint8)": "gives uint8 (0, 4) as picture 2",
}


@pytest.mark.parametrize("body", PICTURES)
def test_a_picture_that_a_package_cannot_give_is_one_line(
    body: str, install, tmp_path: Path
) -> None:
    code = f"class Odd(ArraySource):\n    def read(self, i):\n        {body}\nArraySource = Odd\n"
    install(layout("return make()").replace("def make", f"{code}\ndef make"), "odd_one:ADDED")
    source = open_split("d", "test", tmp_path)
    assert (len(source), source.keys[149]) == (150, "149")
    with pytest.raises(InputError, match=r"package odd_one:ADDED: its layout odd ") as error:
        source.read(2)
    assert PICTURES[body] in str(error.value)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ("1 / 0", "fails, ZeroDivisionError"),
        ("{'test': data}", "finds {'test': "),
        ("3", "finds 3"),
    ],
)
def test_a_layout_that_cannot_look_sees_nothing_and_is_told(
    found: str, told: str, install, tmp_path: Path, capsys
) -> None:
    install(layout("return make()", found), "odd_one:ADDED")
    (tmp_path / "test" / "a").mkdir(parents=True)
    (tmp_path / "test" / "a" / "0.png").write_bytes(b"")
    assert splits("d", tmp_path) == ["test"]
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("package odd_one:ADDED: its layout odd")
    assert told in line
    assert len(open_split("d", "test", tmp_path)) == 1


def test_a_package_with_an_embedded_dataset_that_fails_is_named(install) -> None:
    code = HEAD + "ADDED = [replace(GOOD, module='broken')]\ndef open_split(split):\n    1 / 0\n"
    install(code, "broken:ADDED")
    with pytest.raises(InputError, match="its dataset new fails, ZeroDivisionError: division by"):
        open_split("new", "test")
