"""Probabilities from elsewhere: what makes rows such, and how they are kept."""

from __future__ import annotations

import numpy as np

from cache import InputError
from stages.ingest.arrays import Array

_ROUNDING = 1e-3  # of a row's sum, in half precision
_SINGLE = 1e-6  # of a value up to 1, in single precision
_FIRST = 64  # rows that show whether all may be rounded
_MOST_OFF = 0.5  # of a row's sum, however many values are rounded


def as_probabilities(values: np.ndarray, array: Array) -> np.ndarray:
    """The values of an array [N, K], `as_numbers`; InputError naming the first row that is no
    distribution: its values from 0 to 1, their sum 1."""
    p = as_numbers(values, array)
    in_range(p, array)
    sums = p.sum(axis=1, dtype=np.float64)
    off = np.abs(sums - 1)
    if off.max() > sum_tolerance(p):
        row = int(off.argmax())
        raise InputError(
            f"{array.path}: {array.at(row)} sums to {sums[row]:.6g}, probabilities to 1: give the "
            "whole softmax of every class"
        )
    return p


def as_numbers(values: np.ndarray, array: Array) -> np.ndarray:
    """float64 where they are so given, else float32; InputError for what is no number."""
    if values.dtype.kind not in "fiu":
        raise InputError(f"{array.path} holds {values.dtype}, not numbers")
    kind = np.float64 if values.dtype.itemsize == 8 else np.float32
    return np.ascontiguousarray(values, dtype=kind)


def in_range(p: np.ndarray, array: Array) -> None:
    """InputError naming the first value of [N, K] that is not from 0 to 1."""
    outside = ~((p >= 0) & (p <= 1))
    if outside.any():
        row, column = divmod(int(outside.argmax()), p.shape[1])
        raise InputError(
            f"{array.path}: {array.at(row)} has {p[row, column]:.6g} (column "
            f"{array.columns[column] if array.columns else column}), no probability from 0 to 1: "
            f"{_hint(p)}"
        )


def sum_tolerance(p: np.ndarray) -> float:
    """What the sum of a row of [N, K] may be off 1 by: rounding in half precision, and more where
    all values are rounded to few decimals."""
    for decimals in (1, 2, 3, 4):
        if _rounded(p[:_FIRST], decimals) and _rounded(p, decimals):
            by_decimals = min(_MOST_OFF, p.shape[1] * 0.5 * 10**-decimals + _SINGLE)
            return max(_ROUNDING, by_decimals)
    return _ROUNDING


def _rounded(p: np.ndarray, decimals: int) -> bool:
    exact = p.astype(np.float64)
    return bool((np.abs(exact - exact.round(decimals)) < _SINGLE).all())


def _hint(p: np.ndarray) -> str:
    sums = p.sum(axis=1, dtype=np.float64)
    if not np.isfinite(sums).all():
        return "check how the rows were made"
    if p.min() >= 0 and np.abs(sums - 100).max() < 1:
        return "these are per cent, divide them by 100"
    return "where these are logits, give them as --logits"
