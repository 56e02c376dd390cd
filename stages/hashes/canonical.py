"""`canonical-dhash`: the smallest dhash over the eight symmetries of the square.

Each of the eight is the dhash of the whole picture turned or mirrored, never of a shrunken one:
Pillow rounds between its two passes, so a turned picture shrinks to other grey values than the
turned shrunken picture has. A turned picture has the same eight dhashes, so the same smallest one.
"""

from __future__ import annotations

import numpy as np

from stages.hashes.dhash import LANCZOS, SIDE, bits, blocks, tall
from stages.hashes.grey import grey
from stages.hashes.resize import lanczos, resized
from stages.hashes.spec import Hash


def canonical_dhash(pictures: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W(, 3)] → uint8 [N, 8]; the smallest as a big-endian number."""
    shades = grey(pictures)
    keys = np.empty(len(shades), ">u8")
    for block in blocks(shades):
        upright = _mirrored(shades[block])
        lying = _mirrored(shades[block].transpose(0, 2, 1))
        keys[block] = np.concatenate([upright, lying]).min(axis=0)
    return keys.view(np.uint8).reshape(-1, SIDE)


def _mirrored(shades: np.ndarray) -> np.ndarray:
    """The dhashes of a picture mirrored not at all, across, down, and both: uint64 [4, N].

    A mirrored picture times the weights is the picture times the mirrored weights.
    """
    height, width = shades.shape[1:]
    down, across = _both(lanczos(height, SIDE)), _both(lanczos(width, SIDE + 1))
    small = resized(shades, down, across, tall(shades))
    rows, columns = (slice(SIDE), slice(SIDE, None)), (slice(SIDE + 1), slice(SIDE + 1, None))
    keys = [bits(small[:, row, column]) for row in rows for column in columns]
    return np.stack([np.ascontiguousarray(key).view(">u8")[:, 0] for key in keys])


def _both(weights: np.ndarray) -> np.ndarray:
    return np.hstack([weights, weights[::-1]])


CANONICAL_DHASH = Hash("canonical-dhash", 64, SIDE, canonical_dhash, {**LANCZOS, "symmetries": 8})
