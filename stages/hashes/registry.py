"""Every hash by its name, those that installed packages add last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cache import InputError, one_of
from stages import plugins
from stages.hashes.invariants import DIGITS, ROUNDED
from stages.hashes.spec import Hash
from stages.plugins import Added, extras, misfit, misnamed, of_this_project

# By name as `module:attribute`.
MODULES: Mapping[str, str] = {
    "dhash": "stages.hashes.dhash:DHASH",
    "canonical-dhash": "stages.hashes.canonical:CANONICAL_DHASH",
    "invariants": "stages.hashes.invariants:INVARIANTS",
    "phash": "stages.hashes.library:PHASH",
    "ahash": "stages.hashes.library:AHASH",
    "whash": "stages.hashes.library:WHASH",
}
ALL = tuple(MODULES)
HASHES: Mapping[str, Hash] = {
    name: one.item for name, one in of_this_project(plugins.HASHES, MODULES).items()
} | {each.name: each for each in ROUNDED}


def hash_of(name: str) -> Hash:
    """The hash of this name, or an InputError. Packages are asked last."""
    if name in HASHES:
        return HASHES[name]
    extra = extras(plugins.HASHES, Hash, "hash", HASHES, _unusable)
    if name not in extra.items:
        extra.check()
        raise one_of("hash", name, [*HASHES, *extra.items])
    return _guarded(extra.items[name])


def _unusable(by: Hash) -> str | None:
    if wrong := misnamed(by.name, "hash") or misfit(by):
        return wrong
    if by.length < 1 or (by.bits is not None and not 1 <= by.bits <= 8 * by.length):
        return f"its hash {by.name} counts {by.bits} bits of {by.length} bytes"
    try:
        json.dumps(dict(by.parameters))
    except (TypeError, ValueError) as error:
        return f"its hash {by.name} has parameters that are no JSON ({error})"
    return None


def _guarded(one: Added) -> Hash:
    """The hash; InputError, naming the package, where its function does not keep its word."""
    by, what = one.item, f"its hash {one.item.name}"

    def function(pictures: np.ndarray) -> np.ndarray:
        given = pictures.view()
        given.flags.writeable = False
        with one.blamed(what):
            keys = np.asarray(by.function(given))
        wanted = (len(pictures), by.length)
        if keys.dtype != np.uint8 or keys.shape != wanted:
            found = f"{keys.dtype} {list(keys.shape)}"
            raise one.fault(
                f"{what} gives {found} for {len(pictures)} pictures, not uint8 {[*wanted]}"
            )
        return keys

    return replace(by, function=function, needs=(), made_by=one.maker)


def rounded_name(digits: int) -> str:
    """The name of the invariants rounded to so many significant digits; InputError for others."""
    if digits not in DIGITS:
        raise InputError(
            f"invariants to {digits} digits: give {DIGITS[0]} to {DIGITS[-1]}, or leave it out "
            "for the exact ones"
        )
    return f"invariants-{digits}"
