"""Encoded images, good and bad, by each decoder."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import (
    PICTURES,
    SHARED,
    image_table,
    png,
    write_parquet,
)
from PIL import Image

from cache import InputError
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


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **how)
    return stream.getvalue()


def one_image(folder: Path, data: bytes, decoder: str = "pil") -> np.ndarray:
    write_parquet(folder / "test.parquet", image_table([data], [0]))
    return open_split("mine", "test", folder, decoder=decoder).read(0)


def test_an_image_larger_than_pillows_limit_is_refused_without_a_warning_too(
    tmp_path: Path,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match="10000 × 10000 pixels exceeds limit"):
            one_image(tmp_path, bomb(10_000))


# --- torchcodec ----------------------------------------------------------------------------------

CODEC_KINDS = [name for name, (_, kind) in IMAGES.items() if kind in ("JPEG", "PNG", "WEBP")]


@pytest.fixture
def torchcodec() -> None:
    pytest.importorskip("torchcodec", reason="no torchcodec: install the extra [torchcodec]")


@pytest.mark.usefixtures("torchcodec")
class TestTorchCodec:
    @pytest.mark.parametrize("name", CODEC_KINDS)
    def test_it_decodes_as_pillow_does(self, name: str, tmp_path: Path) -> None:
        make, kind = IMAGES[name]
        data = encoded(make(), kind)
        np.testing.assert_array_equal(
            one_image(tmp_path, data, "torchcodec"), one_image(tmp_path, data)
        )

    def test_a_transparent_palette_and_progressive_jpeg(self, tmp_path: Path) -> None:
        image = Image.fromarray(PICTURES[0])
        for data in (
            encoded(image.quantize(16), "PNG", transparency=bytes([0, 128, 255])),
            encoded(image, "JPEG", progressive=True),
            encoded(image.convert("L"), "JPEG"),
            encoded(image.convert("LA"), "PNG"),
        ):
            got = one_image(tmp_path, data, "torchcodec")
            np.testing.assert_array_equal(got, one_image(tmp_path, data))

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
    def test_an_exif_orientation_is_ignored(
        self, kind: str, orientation: int, tmp_path: Path
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(PICTURES[0][:20])  # 20 × 32
        data = encoded(image, kind, exif=exif)
        got = one_image(tmp_path, data, "torchcodec")
        assert got.shape == (20, 32, 3)
        np.testing.assert_array_equal(got, one_image(tmp_path, data))

    @pytest.mark.parametrize("name", [name for name in DAMAGED if name != "null"])
    def test_what_it_cannot_decode_is_named_with_a_way_out(self, name: str, tmp_path: Path) -> None:
        data, _ = DAMAGED[name]
        table = image_table([png(PICTURES[0])] * 5 + [data], [0] * 6)
        write_parquet(tmp_path / "test.parquet", table)
        source = open_split("mine", "test", tmp_path, decoder="torchcodec")
        np.testing.assert_array_equal(source.read(4), PICTURES[0])
        with pytest.raises(InputError, match="or decode with --decoder pil") as error:
            source.read(5)
        assert "test.parquet: row 5 (sample 5)" in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM"])
    def test_other_formats_are_refused_not_decoded_by_pillow(
        self, kind: str, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match=f"TorchCodec decodes no {kind}"):
            one_image(tmp_path, encoded(Image.fromarray(PICTURES[0]), kind), "torchcodec")

    def test_an_animation_is_refused(self, tmp_path: Path) -> None:
        frames = [Image.fromarray(p) for p in PICTURES[:3]]
        data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
        with pytest.raises(InputError, match="it has 3 frames"):
            one_image(tmp_path, data, "torchcodec")

    @pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data/imagenet-sample")
    def test_real_photographs_are_the_same_from_many_threads(self) -> None:
        pil, codec = (
            open_split("imagenet", "val", SHARED / "imagenet-sample", decoder=name)
            for name in ("pil", "torchcodec")
        )
        assert (pil.decoder, codec.decoder) == ("pil", "torchcodec")
        with ThreadPoolExecutor(8) as pool:
            for i, got in enumerate(pool.map(codec.read, range(60))):
                np.testing.assert_array_equal(got, pil.read(i))


def test_decoders_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="unknown decoder 'pill': did you mean 'pil'"):
        open_split("digits", "test", decoder="pill")
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(InputError, match=r"pip install 'cascade-cli\[torchcodec\]'"):
        open_split("mine", "test", tmp_path, decoder="torchcodec")


def test_what_needs_no_decoding_has_no_decoder() -> None:
    assert open_split("digits", "test").decoder is None
