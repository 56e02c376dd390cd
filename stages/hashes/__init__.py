"""Perceptual hashes of decoded pictures, as fixed-length binary keys, a batch at a time.

>>> import numpy as np
>>> from stages.hashes import hash_of
>>> pictures = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
>>> hash_of("canonical-dhash").digest(pictures).shape
(2, 8)

A new hash is one function and one row of HASHES.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial

from cache.errors import InputError, one_of
from stages.hashes import library
from stages.hashes.canonical import canonical_dhash
from stages.hashes.dhash import dhash
from stages.hashes.invariants import LENGTH, invariants, rounded
from stages.hashes.spec import Hash

__all__ = ["HASHES", "INVARIANTS", "Hash", "available", "hash_of", "rounded_name"]

INVARIANTS = "invariants"
_DIGITS = range(1, 16)  # beyond, a float64 has no more
_LIBRARY = ("imagehash", "PIL")
_LANCZOS = {"resize": "lanczos 9×8, Pillow 13"}
_EXACT = {"order": 3, "largest": 32, "key": "exact, modulo 2^61-1"}

HASHES: Mapping[str, Hash] = {
    each.name: each
    for each in (
        Hash("dhash", 64, 8, dhash, _LANCZOS),
        Hash("canonical-dhash", 64, 8, canonical_dhash, {**_LANCZOS, "symmetries": 8}),
        Hash(INVARIANTS, None, LENGTH, invariants, _EXACT),
        Hash("phash", 64, 8, library.by_name("phash"), needs=_LIBRARY),
        Hash("ahash", 64, 8, library.by_name("average_hash"), needs=_LIBRARY),
        Hash("whash", 64, 8, library.by_name("whash"), needs=_LIBRARY),
    )
}


def hash_of(name: str) -> Hash:
    """The hash of this name; `invariants-N` rounds the invariants to N significant digits."""
    found = re.fullmatch(rf"{INVARIANTS}-(\d+)", name)
    if found is None:
        if name not in HASHES:
            raise one_of("hash", name, HASHES)
        return HASHES[name]
    digits = int(found[1])
    parameters = {**_EXACT, "key": f"{digits} significant digits"}
    name = rounded_name(digits)
    return Hash(name, None, LENGTH, partial(rounded, digits=digits), parameters)


def rounded_name(digits: int) -> str:
    """`invariants-4`, for 4 significant digits; InputError outside 1 … 15."""
    if digits not in _DIGITS:
        raise InputError(
            f"{digits} digits of the invariants: give {_DIGITS[0]} to {_DIGITS[-1]}, or "
            f"{INVARIANTS} for the exact ones"
        )
    return f"{INVARIANTS}-{digits}"


def available(names: Iterable[str] = HASHES) -> list[Hash]:
    """The hashes whose packages are installed."""
    return [each for each in map(hash_of, names) if not each.missing]
