"""ImageHash's own phash, average_hash and whash, called picture by picture.

Source: J. Buchner, ImageHash, https://github.com/JohannesBuchner/imagehash.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from stages.hashes.spec import Hash


def by_name(function: str) -> Callable[[np.ndarray], np.ndarray]:
    """The library's function of this name: uint8 [N, H, W(, 3)] → uint8 [N, 8], row by row."""
    return partial(_digest, function)


def _digest(function: str, pictures: np.ndarray) -> np.ndarray:
    import imagehash
    from PIL import Image

    call: Callable[[Any], Any] = getattr(imagehash, function)
    bits = [call(Image.fromarray(np.ascontiguousarray(each))).hash for each in pictures]
    return np.packbits(np.stack(bits).reshape(len(bits), -1), axis=1)


PHASH, AHASH, WHASH = (
    Hash(name, 64, 8, by_name(function), needs=("imagehash", "PIL"))
    for name, function in (("phash", "phash"), ("ahash", "average_hash"), ("whash", "whash"))
)
