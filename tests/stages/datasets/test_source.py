"""What every source promises: fixed rows, one fingerprint, views of the rest."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pictures import (
    write_layouts,
)

from stages.datasets import ArraySource, fingerprint, open_split


def array_source(keys: list[str], labels: list[int]) -> ArraySource:
    pictures = np.zeros((len(keys), 2, 2), np.uint8)
    return ArraySource(
        dataset="d",
        split="s",
        layout="array",
        keys=keys,
        labels=np.array(labels, np.int32),
        pictures=pictures,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layouts(tmp_path_factory.mktemp("images"))


def test_the_fingerprint_is_that_of_a_naive_loop() -> None:
    keys, labels = ["a", "bé", ""], [1, 0, 2]
    data = struct.pack("<4q3i", 3, 0, 1, 2, *labels)
    data += b"".join(struct.pack("<q", len(key.encode())) for key in keys)
    data += b"".join(key.encode() for key in keys)
    assert fingerprint(array_source(keys, labels)) == hashlib.sha256(data).hexdigest()


rows = st.lists(st.tuples(st.text("ab1é", max_size=3), st.integers(0, 3)), max_size=5)


@given(rows, rows)
def test_fingerprints_are_equal_exactly_for_equal_rows(
    first: list[tuple[str, int]], second: list[tuple[str, int]]
) -> None:
    one, two = (
        fingerprint(array_source([key for key, _ in r], [label for _, label in r]))
        for r in (first, second)
    )
    assert (one == two) == (first == second)


def test_an_array_source_refuses_what_it_is_not_made_for() -> None:
    good = {"dataset": "d", "split": "s", "layout": "array", "keys": ["a"]}
    labels, pictures = np.zeros(1, np.int32), np.zeros((1, 2, 2, 3), np.uint8)
    ArraySource(**good, labels=labels, pictures=pictures)
    for wrong in (
        {"labels": np.zeros(2, np.int32), "pictures": pictures},
        {"labels": np.zeros(1, np.int64), "pictures": pictures},
        {"labels": labels, "pictures": pictures.astype(np.float32)},
        {"labels": labels, "pictures": pictures[..., :2]},
        {"labels": labels, "pictures": np.zeros((2, 2, 2), np.uint8)},
    ):
        with pytest.raises(ValueError, match=r"not|1 keys, 2 labels|2 pictures, 1 labels"):
            ArraySource(**good, **wrong)


def test_sources_cannot_be_changed_and_end_where_they_end(root: Path) -> None:
    source = open_split("cifar10", "test", root / "parquet")
    with pytest.raises(ValueError, match="read-only"):
        source.labels[0] = 1
    for i in (-1, 60):
        with pytest.raises(IndexError):
            source.read(i)
    assert source.read(np.int64(59)).shape == (32, 32, 3)
