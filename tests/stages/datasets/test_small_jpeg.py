"""Small JPEGs, whose header is read here: the very pixels of `Image.open`."""

from __future__ import annotations

import io
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, UnidentifiedImageError
from running import IMAGES, needs_shared

from stages.datasets.decode import small_jpeg


def exif():
    found = Image.Exif()
    found[0x0112] = 6  # turned, which is ignored
    return found


SAVED = {
    "usual": {},
    "coarse": {"quality": 30},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2},
    "text": {"comment": b"hello"},
    "restarts": {"restart_marker_blocks": 1},
    "exif": {"exif": exif()},
    "profile": {"icc_profile": b"x" * 3000},
}
SIZES = ((1, 1), (7, 13), (32, 32), (100, 128))


def saved(mode, size, **how):
    channels = {"L": (), "RGB": (3,), "CMYK": (4,)}[mode]
    pixels = np.random.default_rng(0).integers(0, 256, (*size, *channels), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, "JPEG", **how)
    return stream.getvalue()


def opened(encoded):
    with Image.open(io.BytesIO(encoded), formats=("JPEG",)) as image:
        return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))


@pytest.mark.parametrize("how", SAVED)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_pixels_are_those_of_pillow(mode, how):
    for size in SIZES:
        encoded = saved(mode, size, **SAVED[how])
        found = small_jpeg(encoded)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, opened(encoded))


@needs_shared
def test_real_images_are_the_same():
    for split in ("test", "val", "train"):
        for row in pq.read_table(IMAGES / f"{split}.parquet", columns=["img"])["img"].slice(0, 700):
            encoded = row["bytes"].as_py()
            np.testing.assert_array_equal(small_jpeg(encoded), opened(encoded))


def test_what_is_not_plainly_such_is_left_to_pillow(monkeypatch):
    assert small_jpeg(saved("CMYK", (8, 8))) is None
    assert small_jpeg(saved("RGB", (257, 8))) is None
    assert small_jpeg(saved("RGB", (8, 8), icc_profile=b"x" * (1 << 17))) is None
    for cut in range(600):
        assert small_jpeg(saved("RGB", (8, 8))[:cut]) is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 63)
    assert small_jpeg(saved("RGB", (8, 8))) is None


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_ones_are_as_pillow_has_them_or_left_to_it():
    """Of 4,000 with bytes changed; where a header that no decoder reads is damaged Pillow may be
    the stricter one."""
    draw, taken, stricter = random.Random(1), 0, 0
    files = [saved(mode, (24, 24), **how) for mode in ("L", "RGB") for how in SAVED.values()]
    for _ in range(4000):
        encoded = bytearray(draw.choice(files))
        for _ in range(draw.choice((1, 2, 5))):
            encoded[draw.randrange(2, min(len(encoded), draw.choice((40, 700, 9999))))] = (
                draw.randrange(256)
            )
        found = small_jpeg(bytes(encoded))
        if found is None:
            continue
        taken += 1
        try:
            np.testing.assert_array_equal(found, opened(bytes(encoded)))
        except (UnidentifiedImageError, OSError, SyntaxError):
            stricter += 1
    assert taken > 800
    assert stricter <= taken / 200
