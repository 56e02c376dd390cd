"""`invariants`: four complex-moment invariants under rotation and reflection, exactly.

With z = x + iy about the centroid and c_pq = Σ zᵖ z̄^q f, none of

    c11,   c21·c12,   Re(c20·c12²),   Re(c30·c12³)

changes when the picture is turned, nor, being real, when it is mirrored. Divided by
m00^((p + q)/2 + 1) per factor c_pq they do not change with the picture's scale either.

Source: J. Flusser, T. Suk, "Rotation moment invariants for recognition of symmetric objects", IEEE
Trans. Image Processing 15(12), 2006; Flusser, Suk, Zitová, "Moments and Moment Invariants in
Pattern Recognition", 2009.

Everything is computed from raw moments in whole numbers, so a picture and its turned and mirrored
copies give the very same rationals, not nearly the same floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from stages.hashes.grey import grey
from stages.hashes.moments import moments
from stages.hashes.residues import P, Residues
from stages.hashes.spec import Hash

# The numerators of the four are normalised by these powers of 1/(4·m00³), half of p + q summed over
# their factors; the 4 is for coordinates twice the pixels'.
DEGREES = (1, 3, 4, 6)
LENGTH = 8 * len(DEGREES)
# Below, Python's integers are faster than numpy's calls.
_FEW = 64


def invariants(pictures: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W(, 3)] → uint8 [N, 32]: the four rationals modulo 2⁶¹ − 1, big-endian."""
    found = moments(grey(pictures))
    if len(pictures) < _FEW:
        residues = np.array(
            [
                [_residue(n, d) for n, d in _rationals(raw, found.unit)]
                for raw in found.raw.T.tolist()
            ],
            np.uint64,
        )
    else:
        residues = _residues(found.raw, found.unit)
    return residues.astype(">u8").view(np.uint8).reshape(len(pictures), LENGTH)


def rounded(pictures: np.ndarray, digits: int) -> np.ndarray:
    """uint8 [N, H, W(, 3)] → uint8 [N, 32]: the four to `digits` significant decimal digits."""
    found = moments(grey(pictures))
    # An int divided by an int is correctly rounded, however large they are.
    values = [
        [float(f"{n / d:.{digits - 1}e}") for n, d in _rationals(raw, found.unit)]
        for raw in found.raw.T.tolist()
    ]
    array = np.array(values, np.float64) + 0.0  # −0 becomes 0
    return array.astype(">f8").view(np.uint8).reshape(len(pictures), LENGTH)


def _rationals(raw: Sequence[int], unit: int) -> list[tuple[int, int]]:
    """Numerators and denominators of one picture's four invariants."""
    if not raw[0]:
        return [(0, 1)] * len(DEGREES)
    base = 4 * raw[0] ** 3
    return [
        (numerator * unit**degree, base**degree)
        for numerator, degree in zip(numerators(raw), DEGREES, strict=True)
    ]


def _residue(numerator: int, denominator: int) -> int:
    return numerator * pow(denominator, -1, P) % P


def _residues(raw: np.ndarray, unit: int) -> np.ndarray:
    """uint64 [N, 4] of moments [10, N]."""
    m = [Residues.of(moment) for moment in raw]
    # A black picture has no mass to divide by; its numerators are 0, so any mass will do.
    mass = Residues.of(np.maximum(raw[0], 1))
    four, scale = (Residues.of(np.array([number])) for number in (4, unit))
    t = scale * (four * mass * mass * mass).inverse()
    t3 = t * t * t
    powers = {1: t, 3: t3, 4: t3 * t, 6: t3 * t3}
    found = zip(numerators(m), DEGREES, strict=True)
    return np.stack([(number * powers[degree]).values for number, degree in found], axis=1)


def numerators(m: Sequence[Any]) -> tuple[Any, Any, Any, Any]:
    """m00·c11, m00⁴·c21·c12, m00⁵·Re(c20·c12²), m00⁸·Re(c30·c12³), from the raw moments.

    `m`: the ten raw moments by ORDERS, as int, Fraction, Residues, or whatever adds and multiplies.
    a_pq is m00·μ_pq in the second order and m00²·μ_pq in the third, with μ_pq the central moments:
    whole numbers, where the central moments themselves are fractions.
    """
    m00, m10, m01, m20, m11, m02, m30, m21, m12, m03 = m
    a20 = m00 * m20 - m10 * m10
    a11 = m00 * m11 - m10 * m01
    a02 = m00 * m02 - m01 * m01
    x, y, twist = m10 + m10, m01 + m01, a11 + a11
    a30 = m00 * (m00 * m30 - m10 * m20) - x * a20
    a21 = m00 * (m00 * m21 - m01 * m20) - x * a11
    a12 = m00 * (m00 * m12 - m10 * m02) - y * a11
    a03 = m00 * (m00 * m03 - m01 * m02) - y * a02
    # c21 = u + iv, c12 = u − iv, c20 = (a20 − a02) + i·twist, c30 = s + iw
    u, v = a30 + a12, a21 + a03
    s, w = a30 - (a12 + a12 + a12), (a21 + a21 + a21) - a03
    uu, vv, uv = u * u, v * v, u * v
    c20_c12 = (a20 - a02) * (uu - vv) + twist * (uv + uv)
    c30_c12 = s * u * (uu - (vv + vv + vv)) + w * v * (uu + uu + uu - vv)
    return a20 + a02, uu + vv, c20_c12, c30_c12


_MOMENTS = {"order": 3, "largest": 32}
INVARIANTS = Hash(
    "invariants", None, LENGTH, invariants, {**_MOMENTS, "key": "exact, modulo 2^61-1"}
)
DIGITS = range(1, 16)  # beyond, a float64 has no more
# `invariants-4`: rounded to 4 significant digits.
ROUNDED = tuple(
    Hash(
        f"invariants-{digits}",
        None,
        LENGTH,
        partial(rounded, digits=digits),
        {**_MOMENTS, "key": f"{digits} significant digits"},
    )
    for digits in DIGITS
)
