"""Encoded images, good and bad, by each decoder."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import (
    PICTURES,
    image_table,
    png,
    write_parquet,
)
from PIL import Image

from cache.errors import InputError
from stages.datasets import open_split

IMAGES: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "grey": (lambda: Image.fromarray(PICTURES[0]).convert("L"), "PNG"),
    "bilevel": (lambda: Image.fromarray(PICTURES[0]).convert("1"), "PNG"),
    "palette": (lambda: Image.fromarray(PICTURES[0]).quantize(16), "PNG"),
    "alpha": (lambda: Image.fromarray(PICTURES[0]).convert("RGBA"), "PNG"),
    "cmyk": (lambda: Image.fromarray(PICTURES[0]).convert("CMYK"), "JPEG"),
    "bmp": (lambda: Image.fromarray(PICTURES[0]), "BMP"),
    "ppm": (lambda: Image.fromarray(PICTURES[0]), "PPM"),
    "tiff": (lambda: Image.fromarray(PICTURES[0]), "TIFF"),
    "webp": (lambda: Image.fromarray(PICTURES[0]), "WEBP"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_other_kinds_of_images_decode_as_pillow_converts_them(name: str, tmp_path: Path) -> None:
    make, format_ = IMAGES[name]
    stream = io.BytesIO()
    make().save(stream, format_)
    write_parquet(tmp_path / "test.parquet", image_table([stream.getvalue()], [0]))
    image = Image.open(io.BytesIO(stream.getvalue()))
    expected = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    got = open_split("mine", "test", tmp_path).read(0)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


def test_a_transparent_palette_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(PICTURES[0]).quantize(16)
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=bytes([0, 128, 255]))
    write_parquet(tmp_path / "test.parquet", image_table([stream.getvalue()], [0]))
    got = open_split("mine", "test", tmp_path).read(0)
    np.testing.assert_array_equal(got, np.asarray(image.convert("RGB")))


def bomb(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


DAMAGED: dict[str, tuple[bytes | None, str]] = {
    "null": (None, "no image bytes"),
    "empty": (b"", "not an image"),
    "text": (b"<html>404</html>", "not an image"),
    "truncated": (png(PICTURES[0])[:900], "runcated"),
    "bomb": (bomb(50_000), "exceeds limit"),
    "large": (bomb(10_000), "exceeds limit"),
    "16-bit": (png(np.zeros((4, 4), np.uint16)), "more than 8 bits"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n", "not an image"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_image_is_named_by_file_and_position(name: str, tmp_path: Path) -> None:
    data, found = DAMAGED[name]
    table = image_table([png(PICTURES[0])] * 5 + [data], [0] * 6)
    write_parquet(tmp_path / "test-00000-of-00002.parquet", table.slice(0, 2))
    write_parquet(tmp_path / "test-00001-of-00002.parquet", table.slice(2), row_group_size=3)
    source = open_split("mine", "test", tmp_path)
    source.read(4)
    with pytest.raises(InputError, match=found) as error:
        source.read(5)
    assert "test-00001-of-00002.parquet: row 3 (sample 5)" in str(error.value)
    assert "\n" not in str(error.value)
