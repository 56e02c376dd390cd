"""Downloads, without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import (
    PICTURES,
    pictures_of,
    write_archive,
)

from cache import InputError
from stages.datasets import download as fetch, listing, open_split, spec
from stages.datasets.archives import DOWNLOADERS


def test_downloading_needs_a_dataset_that_can_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mnist has no download; known are cifar10"):
        fetch("mnist", tmp_path)
    for name in DOWNLOADERS:
        assert spec(name).download
    assert {row.name for row in listing() if row.download} == set(DOWNLOADERS)


NOWHERE = "http://127.0.0.1:9/"
ADDRESSES = {
    "cifar10": ("CIFAR10", "url", f"{NOWHERE}cifar-10-python.tar.gz"),
    "cifar100": ("CIFAR100", "url", f"{NOWHERE}cifar-100-python.tar.gz"),
    "fashionmnist": ("FashionMNIST", "mirrors", [NOWHERE]),
}


@pytest.mark.parametrize("name", DOWNLOADERS)
def test_a_network_that_fails_is_said_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    owner, attribute, address = ADDRESSES[name]
    monkeypatch.setattr(getattr(datasets, owner), attribute, address)
    with pytest.raises(InputError, match=rf"downloading {name} to .*; check the net") as error:
        open_split(name, "test", tmp_path, download=True)
    assert "\n" not in str(error.value)


def test_a_download_is_read_by_the_ordinary_reader_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def pretend(root: str) -> None:
        print("Extracting")
        calls.append(root)
        write_archive(Path(root))

    monkeypatch.setitem(DOWNLOADERS, "cifar10", pretend)
    for _ in range(2):
        source = open_split("cifar10", "test", tmp_path / "new", download=True)
        np.testing.assert_array_equal(pictures_of(source), PICTURES)
    assert calls == [str(tmp_path / "new")]
    assert capsys.readouterr().out == ""
