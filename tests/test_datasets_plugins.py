"""Datasets and layouts of other packages; the documentation's own example among them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from cache.errors import InputError
from stages import plugins
from stages.datasets import listing, open_split, spec, splits
from stages.datasets import spec as known_spec

DOCS = Path(__file__).parents[1] / "docs" / "extending.md"


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
    assert source.opening.open().keys == source.keys
    assert "leaves" in {row["name"] for row in listing()}


def test_a_package_that_is_broken_is_named_in_one_line(install, tmp_path: Path) -> None:
    install("raise OSError('no\\nway')", "broken_one:ADDED")
    with pytest.raises(
        InputError, match=r"cascade.datasets \(broken_one:ADDED: OSError: no"
    ) as error:
        listing()
    assert "\n" not in str(error.value)
    assert open_split("digits", "test").n_classes == 10


def test_a_package_that_adds_something_else_is_named(install) -> None:
    install("ADDED = [1]", "wrong_one:ADDED")
    with pytest.raises(InputError, match="gives a int, not a DatasetSpec or Layout"):
        listing()


def test_a_package_cannot_take_a_known_name(install) -> None:
    install(
        "from dataclasses import replace\nfrom stages.datasets.spec import SPECS\n"
        "ADDED = [replace(SPECS['cifar10'], classes=2)]",
        "thief:ADDED",
    )
    with pytest.raises(InputError, match="adds a dataset cifar10, which is a known one"):
        listing()
    assert spec("cifar10").classes == 10
