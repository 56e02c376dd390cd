"""Whole numbers modulo the prime 2⁶¹ − 1, in arrays: exact arithmetic without growing numbers.

A rational n/d has the residue n·d⁻¹. Equal rationals have equal residues; two different ones share
theirs with probability 2⁻⁶¹. Python's own `hash` of a Fraction is this residue, up to its sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

P = (1 << 61) - 1
_P = np.uint64(P)
_61, _31, _30, _1 = (np.uint64(bits) for bits in (61, 31, 30, 1))
_LOW_31, _LOW_30 = np.uint64((1 << 31) - 1), np.uint64((1 << 30) - 1)


@dataclass(frozen=True)
class Residues:
    """`values`: uint64 of any shape, each below P."""

    values: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray) -> Residues:
        """Of int64 numbers."""
        return cls((numbers % P).astype(np.uint64))

    def __add__(self, other: Residues) -> Residues:
        total = self.values + other.values
        return Residues(np.minimum(total, total - _P))  # what wraps below 0 is the larger

    def __sub__(self, other: Residues) -> Residues:
        total = self.values - other.values
        return Residues(np.minimum(total, total + _P))

    def __mul__(self, other: Residues) -> Residues:
        """Schoolbook in limbs of 31 bits: 2⁶² ≡ 2, and 2³¹·m ≡ (m >> 30) + 2³¹·(m mod 2³⁰)."""
        a1, a0 = self.values >> _31, self.values & _LOW_31
        b1, b0 = other.values >> _31, other.values & _LOW_31
        middle = a1 * b0 + a0 * b1
        total = ((a1 * b1) << _1) + (middle >> _30) + ((middle & _LOW_30) << _31) + a0 * b0
        total = (total & _P) + (total >> _61)
        return Residues(np.minimum(total, total - _P))

    def inverse(self) -> Residues:
        """The reciprocals of numbers [N], none of them 0.

        One inversion for all (P. Montgomery, Math. Comp. 48, 1987): of the product of two numbers,
        times the one is the inverse of the other.
        """
        n = len(self.values)
        if n == 1:
            return Residues(np.array([pow(int(self.values[0]), -1, P)], np.uint64))
        half = n // 2
        left, right = Residues(self.values[:half]), Residues(self.values[half : 2 * half])
        both = np.concatenate([(left * right).values, self.values[2 * half :]])
        inverse = Residues(both).inverse().values
        paired = Residues(inverse[:half])
        parts = (paired * right).values, (paired * left).values, inverse[half:]
        return Residues(np.concatenate(parts))
