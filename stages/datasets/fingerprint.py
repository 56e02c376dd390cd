"""One hash for the images behind a partition: equal exactly where rows may be joined."""

from __future__ import annotations

import hashlib

import numpy as np

from stages.datasets.source import Source


def fingerprint(source: Source) -> str:
    """SHA-256 over ids 0 … N−1, labels and keys, in hexadecimal.

    Hashed are, little-endian: N and the ids as int64, the labels as int32, the length of each key
    in bytes as int64, then the keys in UTF-8 without separators.
    """
    n = len(source)
    keys = [key.encode() for key in source.keys]
    digest = hashlib.sha256()
    digest.update(np.array(n, "<i8").tobytes())
    digest.update(np.arange(n, dtype="<i8").tobytes())
    digest.update(np.asarray(source.labels, "<i4").tobytes())
    digest.update(np.fromiter(map(len, keys), "<i8", n).tobytes())
    digest.update(b"".join(keys))
    return digest.hexdigest()
