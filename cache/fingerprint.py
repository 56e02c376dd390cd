"""One hash for the images behind a partition: equal exactly where rows may be joined."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def fingerprint_of(labels: Sequence[int] | np.ndarray, keys: Sequence[str]) -> str:
    """SHA-256 over ids 0 … N−1, labels and keys, in hexadecimal.

    Hashed are, little-endian: N and the ids as int64, the labels as int32, the length of each key
    in bytes as int64, then the keys in UTF-8 without separators.

    >>> fingerprint_of([3, 1], ["a.png", "b.png"])[:12]
    '57353e944611'
    """
    n = len(keys)
    encoded = [key.encode() for key in keys]
    digest = hashlib.sha256()
    digest.update(np.array(n, "<i8").tobytes())
    digest.update(np.arange(n, dtype="<i8").tobytes())
    digest.update(np.asarray(labels, "<i4").tobytes())
    digest.update(np.fromiter(map(len, encoded), "<i8", n).tobytes())
    digest.update(b"".join(encoded))
    return digest.hexdigest()
