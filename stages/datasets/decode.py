"""Encoded image → uint8 array.

Pillow decodes by default, as the published models' authors decoded their images. TorchCodec is the
quicker one; what an image is (its kind, its size) Pillow decides for both.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from cache import InputError, one_of
from stages.datasets.layout import needing, reason
from stages.datasets.source import Source

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
TORCHCODEC_FORMATS = ("JPEG", "PNG", "WEBP")
HINT = "replace or remove this image"


class UnreadableImageError(InputError):
    """One image cannot be decoded. `reason` is the message without its place and hint."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodedSource(Source):
    """Pictures that are stored as encoded images; each is decoded when it is read."""

    @abstractmethod
    def where(self, i: int) -> str:
        """The place of picture i, for messages."""

    @abstractmethod
    def stored(self, i: int) -> bytes:
        """The encoded image."""

    def read(self, i: int) -> np.ndarray:
        return decode(self.stored(i), self.where(i), self.decoder or "pil")


def decode(encoded: bytes, where: str, decoder: str = "pil") -> np.ndarray:
    """uint8 [H, W] for an 8-bit grey image, [H, W, 3] in RGB for any other; may be read-only.

    Transparency is dropped and an EXIF orientation ignored, as torchvision's image folder does.
    Raises UnreadableImageError, beginning with `where`, for bytes that are no image, and an image
    that is damaged, has more than 8 bits per sample, is larger than Pillow's limit against
    decompression bombs, or is of a kind that this decoder does not know.
    """
    try:
        return DECODERS[decoder](encoded)
    except InputError:
        raise
    except Exception as error:  # plugins of Pillow raise whatever their parsing runs into
        raise unreadable_image(where, reason(error), decoder) from error


def unreadable_image(where: str, found: str, decoder: str = "pil") -> UnreadableImageError:
    """The error for one image: at `where`, `found` was wrong."""
    hint = HINT if decoder == "pil" else f"{HINT}, or decode with --decoder pil"
    return UnreadableImageError(f"{where}: {found}; {hint}", found)


def checked_decoder(name: str) -> str:
    """The name of a decoder that is there and whose packages are installed, else InputError."""
    if name not in DECODERS:
        raise one_of("decoder", name, DECODERS)
    if name == "torchcodec":
        _torchcodec()
    return name


def _with_pillow(encoded: bytes) -> np.ndarray:
    found = small_jpeg(encoded) if encoded[:2] == _SOI else None
    if found is not None:
        return found
    with _opened(encoded) as image:
        return np.asarray(_eight_bit(image))


# A JPEG's first two bytes, and the markers of a frame's header, from baseline to progressive.
_SOI, _FRAMES = b"\xff\xd8", (0xC0, 0xC1, 0xC2)
# What Pillow's decoder is given at once; a side beyond which reading a header costs little.
_AT_ONCE, _SMALL = 1 << 16, 256
_MODES = {1: "L", 3: "RGB"}


def small_jpeg(encoded: bytes) -> np.ndarray | None:
    """What Pillow's own decoder makes of a small grey or colour JPEG, its header read here: for
    opening one Pillow takes twice as long as for decoding it, and holds the interpreter's lock.

    None for whatever is not plainly such, which `Image.open` then tells of.
    """
    size = _frame(encoded) if len(encoded) <= _AT_ONCE else None
    if size is None:
        return None
    width, height, mode = size
    from PIL import Image

    if width * height > (Image.MAX_IMAGE_PIXELS or width * height):
        return None
    try:
        return np.asarray(Image.frombytes(mode, (width, height), encoded, "jpeg", mode, ""))
    except Exception:  # as a plugin's parsing may raise, too
        return None


def _frame(encoded: bytes) -> tuple[int, int, str] | None:
    """(width, height, mode) by the header of a JPEG's frame of 8 bits a sample."""
    at, end = 2, len(encoded) - 9
    while at < end and encoded[at] == 0xFF:
        marker, length = encoded[at + 1], (encoded[at + 2] << 8) + encoded[at + 3]
        if marker in _FRAMES:
            height = (encoded[at + 5] << 8) + encoded[at + 6]
            width = (encoded[at + 7] << 8) + encoded[at + 8]
            mode, small = _MODES.get(encoded[at + 9]), 0 < width <= _SMALL and 0 < height <= _SMALL
            return (width, height, mode) if mode and small and encoded[at + 4] == 8 else None
        if not 0xDB <= marker <= 0xEF and marker not in (0xC4, 0xFE):  # tables, applications, text
            return None
        at += 2 + length
    return None


def _with_torchcodec(encoded: bytes) -> np.ndarray:
    with _opened(encoded) as header:
        if header.format not in TORCHCODEC_FORMATS:
            raise ValueError(f"TorchCodec decodes no {header.format}")
        _refuse_deep(header)
        width, height = header.size
        grey = header.mode == "L"
        orientation = header.getexif().get(0x0112, 1)
    torch, decode_image = _torchcodec()
    # A copy, because torch warns of memory that cannot be written to, which bytes cannot.
    data = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
    planes = decode_image(data, mode="GRAY" if grey else "RGB")
    if planes.ndim != 3:
        raise ValueError(f"it has {len(planes)} frames")
    picture = planes.permute(1, 2, 0).numpy()
    if orientation in _UPRIGHT:
        picture = _UPRIGHT[orientation](picture)
    if picture.shape[:2] != (height, width):
        raise ValueError(f"TorchCodec gives {picture.shape[:2]}, its header {(height, width)}")
    return picture[:, :, 0] if grey else picture


# TorchCodec turns a picture by its EXIF orientation; each row turns it back.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda picture: picture[:, ::-1],
    3: lambda picture: picture[::-1, ::-1],
    4: lambda picture: picture[::-1],
    5: lambda picture: picture.transpose(1, 0, 2),
    6: lambda picture: np.rot90(picture, 1),
    7: lambda picture: picture[::-1, ::-1].transpose(1, 0, 2),
    8: lambda picture: np.rot90(picture, -1),
}

DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "pil": _with_pillow,
    "torchcodec": _with_torchcodec,
}


def _torchcodec() -> tuple[Any, Any]:
    with needing("--decoder torchcodec needs torchcodec 0.17 or later", "torchcodec"):
        import torch
        from torchcodec.decoders import decode_image
    return torch, decode_image


def _opened(encoded: bytes) -> Image:
    with needing("decoding images needs Pillow", "extract"):
        from PIL import Image, UnidentifiedImageError
    _hush()
    try:
        image = Image.open(BytesIO(encoded), formats=tuple(FORMATS))
    except UnidentifiedImageError as error:
        raise ValueError(f"not an image in one of {', '.join(FORMATS)}") from error
    limit = Image.MAX_IMAGE_PIXELS
    if limit and image.width * image.height > limit:  # up to twice the limit Pillow only warns
        raise ValueError(f"{image.width} × {image.height} pixels exceeds limit of {limit} pixels")
    return image


@cache
def _hush() -> None:
    """Pillow warns of a picture that it would still open, which is refused here all the same."""
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def _eight_bit(image: Image) -> Image:
    if image.mode in ("L", "RGB"):
        return image
    _refuse_deep(image)
    if image.mode == "P" and "transparency" in image.info:  # Pillow warns about the direct way
        image = image.convert("RGBA")
    return image.convert("RGB")


def _refuse_deep(image: Image) -> None:
    if image.mode.startswith(("I", "F")):  # Pillow would clip these to white
        raise ValueError(f"{image.mode} has more than 8 bits per sample, convert it to 8")
