"""Small pictures for the page, from images that were given for it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

from stages.datasets import Source

SIDE, MOST = 64, 240


def thumbnails(source: Source, samples: Iterable[int]) -> dict[int, str]:
    """Sample id → WebP in base64 of the first MOST samples. Needs pillow."""
    first = list(dict.fromkeys(samples))[:MOST]
    return {sample: _small(source, sample) for sample in first}


def _small(source: Source, sample: int) -> str:
    from PIL import Image

    picture = Image.fromarray(source.read(sample))
    picture.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "webp", quality=75)
    return base64.b64encode(stream.getvalue()).decode("ascii")
