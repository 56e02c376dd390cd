"""Random bytes and flipped bits: an answer or one line, never a traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pictures import (
    FUZZ,
    LABELS,
    NAMES,
    PICTURES,
    image_table,
    png,
    write_batch,
    write_layouts,
    write_parquet,
)
from PIL import Image

from cache import InputError
from stages.datasets import open_split


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layouts(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("name", ["parquet", "archive", "image", "name"])
def test_random_bytes_end_in_one_line(name: str, tmp_path: Path, root: Path) -> None:
    path = {
        "parquet": tmp_path / "test.parquet",
        "archive": tmp_path / "cifar-10-batches-py" / "test_batch",
        "image": tmp_path / "test" / "cat" / "1.png",
        "name": tmp_path / "cifar-10-batches-py" / "batches.meta",
    }[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "name":
        write_batch(path.parent / "test_batch", PICTURES, LABELS)

    @FUZZ
    @given(
        st.binary(max_size=300), st.sampled_from([b"", b"PAR1", b"\x80\x02", b"\x89PNG\r\n\x1a\n"])
    )
    def fuzz(data: bytes, magic: bytes) -> None:
        path.write_bytes(magic + data + magic)
        with pytest.raises(InputError) as error:
            open_split("mine", "test", tmp_path).read(0)
        assert "\n" not in str(error.value)
        assert str(tmp_path) in str(error.value)

    fuzz()


def small_files(folder: Path) -> dict[str, Path]:
    table = image_table([png(p) for p in PICTURES[:4]], LABELS[:4], names=list(NAMES))
    write_batch(folder / "archive" / "cifar-10-batches-py" / "test_batch", PICTURES[:1], LABELS[:1])
    (folder / "folders" / "test" / "cat").mkdir(parents=True)
    (folder / "folders" / "test" / "cat" / "1.png").write_bytes(png(PICTURES[0]))
    Image.fromarray(PICTURES[0]).save(folder / "folders" / "test" / "cat" / "1.jpg")
    write_parquet(folder / "parquet" / "test.parquet", table)
    return {
        "archive": folder / "archive" / "cifar-10-batches-py" / "test_batch",
        "parquet": folder / "parquet" / "test.parquet",
        "png": folder / "folders" / "test" / "cat" / "1.png",
        "jpg": folder / "folders" / "test" / "cat" / "1.jpg",
    }


@pytest.mark.parametrize("name", ["archive", "parquet", "png", "jpg"])
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = small_files(tmp_path)[name]
    data = path.read_bytes()
    root = tmp_path / path.relative_to(tmp_path).parts[0]

    @FUZZ
    @given(st.integers(0, len(data) - 1), st.integers(1, 255), st.booleans())
    def fuzz(position: int, change: int, cut: bool) -> None:
        damaged = bytearray(data)
        damaged[position] ^= change
        path.write_bytes(bytes(damaged[:position]) if cut else bytes(damaged))
        message = ""
        try:
            source = open_split("cifar10", "test", root)
            pictures = [source.read(i) for i in range(len(source))]
            assert all(p.dtype == np.uint8 and p.ndim in (2, 3) for p in pictures)
            assert source.labels.min() >= 0
        except InputError as error:
            message = str(error)
        assert "\n" not in message

    fuzz()
