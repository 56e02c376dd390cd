"""`dhash`: is each of 8×8 cells brighter than its left neighbour? ImageHash's, bit for bit.

Sources: N. Krawetz, "Kind of Like That", hackerfactor.com, 2013; J. Buchner's ImageHash, `dhash`.
"""

from __future__ import annotations

import numpy as np

from stages.hashes.grey import grey
from stages.hashes.resize import down_first, lanczos, resized
from stages.hashes.spec import Hash

SIDE = 8
# Pixels worked on at a time, so that their float64 copies stay in the cache.
_BLOCK = 1 << 17


def dhash(pictures: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W(, 3)] → uint8 [N, 8]: the bits of ImageHash's `dhash`, row by row."""
    shades = grey(pictures)
    height, width = shades.shape[1:]
    down, across = lanczos(height, SIDE), lanczos(width, SIDE + 1)
    keys = np.empty((len(shades), SIDE), np.uint8)
    for block in blocks(shades):
        keys[block] = bits(resized(shades[block], down, across, tall(shades)))
    return keys


def tall(shades: np.ndarray) -> bool:
    """Whether Pillow shrinks pictures [N, H, W] downwards first."""
    height, width = shades.shape[1:]
    return down_first((height, width), (SIDE, SIDE + 1))


def bits(cells: np.ndarray) -> np.ndarray:
    """[N, 8, 9] → uint8 [N, 8]: a byte per row, the leftmost pair in its highest bit."""
    return np.packbits(cells[:, :, 1:] > cells[:, :, :-1], axis=2)[:, :, 0]


def blocks(shades: np.ndarray) -> list[slice]:
    """Stretches of the batch of about 2¹⁷ pixels each."""
    step = max(1, _BLOCK // (shades.shape[1] * shades.shape[2]))
    return [slice(start, start + step) for start in range(0, len(shades), step)]


LANCZOS = {"resize": "Lanczos to 9×8, as Pillow 13"}
DHASH = Hash("dhash", 64, SIDE, dhash, LANCZOS)
