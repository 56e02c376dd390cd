"""Every hash by its name. A new hash is one function and one row here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from cache import InputError, one_of
from stages.hashes import canonical, dhash, invariants, library
from stages.hashes.invariants import LENGTH
from stages.hashes.spec import Hash

_DIGITS = range(1, 16)  # beyond, a float64 has no more
_LIBRARY = ("imagehash", "PIL")
_LANCZOS = {"resize": "Lanczos to 9×8, as Pillow 13"}
_MOMENTS = {"order": 3, "largest": 32}
_EXACT = {"key": "exact, modulo 2^61-1"}

_PLAIN = (
    Hash("dhash", 64, 8, dhash.dhash, _LANCZOS),
    Hash("canonical-dhash", 64, 8, canonical.canonical_dhash, {**_LANCZOS, "symmetries": 8}),
    Hash("invariants", None, LENGTH, invariants.invariants, {**_MOMENTS, **_EXACT}),
    Hash("phash", 64, 8, library.by_name("phash"), needs=_LIBRARY),
    Hash("ahash", 64, 8, library.by_name("average_hash"), needs=_LIBRARY),
    Hash("whash", 64, 8, library.by_name("whash"), needs=_LIBRARY),
)
# `invariants-4`: rounded to 4 significant digits.
_ROUNDED = tuple(
    Hash(
        f"invariants-{digits}",
        None,
        LENGTH,
        partial(invariants.rounded, digits=digits),
        {**_MOMENTS, "key": f"{digits} significant digits"},
    )
    for digits in _DIGITS
)
ALL = tuple(each.name for each in _PLAIN)
HASHES: Mapping[str, Hash] = {each.name: each for each in (*_PLAIN, *_ROUNDED)}


def hash_of(name: str) -> Hash:
    """The hash of this name, or an InputError."""
    if name not in HASHES:
        raise one_of("hash", name, [*ALL, f"invariants-{_DIGITS[0]} … -{_DIGITS[-1]}"])
    return HASHES[name]


def rounded_name(digits: int) -> str:
    """The name of the invariants rounded to so many significant digits; InputError for others."""
    if digits not in _DIGITS:
        raise InputError(
            f"invariants to {digits} digits: give {_DIGITS[0]} to {_DIGITS[-1]}, or leave it out "
            "for the exact ones"
        )
    return f"invariants-{digits}"
