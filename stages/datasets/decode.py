"""Encoded image → uint8 array, with Pillow, as the published models' authors decoded theirs."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cache.errors import InputError
from stages.datasets.layout import refusing

if TYPE_CHECKING:
    from PIL.Image import Image

# The rest of Pillow's formats stay out: some start another program (EPS runs Ghostscript).
FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "PPM": (".ppm", ".pgm", ".pbm"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
SUFFIXES = frozenset(suffix for row in FORMATS.values() for suffix in row)


def decode(image: bytes | Path, where: str) -> np.ndarray:
    """uint8 [H, W] for an 8-bit grey image, [H, W, 3] in RGB for any other; may be read-only.

    Transparency is dropped and an EXIF orientation ignored, as torchvision's image folder does.
    Raises InputError, beginning with `where`, for bytes that are no image, a damaged one, one of
    more than 8 bits per sample, and one larger than Pillow's limit against decompression bombs.
    """
    # Pillow's plugins raise whatever their parsing runs into, its warning about bombs included.
    with refusing(where, "replace or remove this image", Exception), _opened(image) as opened:
        return np.asarray(_eight_bit(opened))


def _opened(image: bytes | Path) -> Image:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise InputError(
            "decoding images needs Pillow, not installed here: pip install 'cascade-cli[extract]'"
        ) from error
    try:
        stream = BytesIO(image) if isinstance(image, bytes) else image
        return Image.open(stream, formats=tuple(FORMATS))
    except UnidentifiedImageError as error:
        raise ValueError(f"not an image in one of {', '.join(FORMATS)}") from error


def _eight_bit(image: Image) -> Image:
    if image.mode == "L":
        return image
    if image.mode.startswith(("I", "F")):  # Pillow would clip these to white
        raise ValueError(f"{image.mode} has more than 8 bits per sample, convert it to 8")
    if image.mode == "P" and "transparency" in image.info:  # Pillow warns about the direct way
        image = image.convert("RGBA")
    return image.convert("RGB")
